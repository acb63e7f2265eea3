"""What every test of the plugin uses: STTs of both makes that talk to a local server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from livekit.plugins import cartesia

from cartesia_ink_plugins import livekit as ink

MakeSTT = Callable[..., Any]

# Ours, and LiveKit's own, which is expected to fail: where it no longer does, the test fails, and a
# claim has to be taken back.
BOTH = pytest.mark.parametrize(
    "make", ["ink", pytest.param("builtin", marks=pytest.mark.xfail(strict=True))], indirect=True
)


@pytest.fixture(autouse=True)
def _does_not_wait(virtual_clock: None) -> None:
    """A call takes no longer than what is computed in it."""


@pytest.fixture
async def make_ink() -> AsyncIterator[MakeSTT]:
    """Makes our STT for a server's URL; closes what was made."""
    made: list[ink.STT] = []

    def make(url: str, **options: Any) -> ink.STT:
        made.append(ink.STT(api_key="sk_test", base_url=url, **options))
        return made[-1]

    yield make
    for recogniser in made:
        await recogniser.aclose()


@pytest.fixture
async def make_builtin() -> AsyncIterator[MakeSTT]:
    """Makes LiveKit's own Cartesia STT for a server's URL; closes what was made."""
    made: list[cartesia.STT] = []
    async with aiohttp.ClientSession() as http:

        def make(url: str, **options: Any) -> cartesia.STT:
            options.setdefault("http_session", http)
            made.append(cartesia.STT(api_key="sk_test", base_url=url, **options))
            return made[-1]

        yield make
        for recogniser in made:
            await recogniser.aclose()


@pytest.fixture
def make(request: pytest.FixtureRequest, make_ink: MakeSTT, make_builtin: MakeSTT) -> MakeSTT:
    """One of the two, as `BOTH` says."""
    return make_ink if request.param == "ink" else make_builtin


@pytest.fixture
def patience(request: pytest.FixtureRequest) -> float:
    """Seconds to wait for what ours does, maybe late on a busy machine, and the other one never."""
    return 30.0 if request.node.callspec.params["make"] == "ink" else 2.0


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Figures that are printed when the test is over, whoever wins."""
    figures: dict[str, float] = {}
    yield figures
    for what, value in figures.items():
        print(f"\n{request.node.name}: {what} {value:.3f}")
