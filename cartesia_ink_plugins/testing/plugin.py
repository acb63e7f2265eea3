"""The pytest plugin: the fixtures `ink_server` and `ink_caller`.

    def test_my_bot(ink_server):
        script = ink_server.play("Hello there.", "I'd like a table ... for two.")
        texts = run_my_bot(base_url=ink_server.url, microphone=script.audio())
        assert_heard(texts, script.transcripts)

A marker sets options of the server: `@pytest.mark.ink_server(rules=Rules(max_streams=1))`. After a
test that passed, the fixture fails it if the server rejected something, or if not every turn of the
script was recognized once. `ink_server.strict = False` turns that off.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cartesia_ink_plugins.testing.caller import Caller
    from cartesia_ink_plugins.testing.local import LocalInk

_PASSED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "ink_server(engine=None, *, strict=True, **options): how to run `ink_server`"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store whether the test passed; a failed one is not checked."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def ink_server(request: pytest.FixtureRequest) -> Iterator[LocalInk]:
    """A local Ink server on its own thread; strict after a test that passed."""
    # Imported here, so that a run without the fixture needs no aiohttp.
    from cartesia_ink_plugins.testing.local import LocalInk

    marker = request.node.get_closest_marker("ink_server")
    server = LocalInk(*marker.args, **marker.kwargs) if marker else LocalInk()
    server.start()
    try:
        yield server
    finally:
        server.stop()
    if request.node.stash.get(_PASSED, False):
        __tracebackhide__ = True
        server.check()


@pytest.fixture
def ink_caller(ink_server: LocalInk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """A caller that plays the recording of `ink_server` to a bot."""
    from cartesia_ink_plugins.testing import Caller

    path = tmp_path / "call.ink"
    monkeypatch.setenv("INK_RECORD", str(path))
    return Caller(ink_server, path)
