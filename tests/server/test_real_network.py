"""Faults that no proxy can play: a cable that is cut, a link that is narrow. Needs root.

The script has 10 s of speech; what counts is that every word is heard, once, and each turn once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cartesia_ink_plugins import (
    AudioGap,
    Connected,
    Credentials,
    Disconnected,
    Event,
    InkTurnsClient,
    TurnEnd,
    TurnsOptions,
)
from cartesia_ink_plugins.testing import Script, assert_heard, assert_turn_order
from tests.server.cable import Cable, server_behind_a_cable
from tests.server.listening import PCM16

pytestmark = pytest.mark.needs("network-namespaces")

LINES = ["one two three ... four five six", "seven eight nine", "ten eleven twelve"]
SCRIPT = Script(*LINES)
CHUNK = 0.05


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    path = tmp_path / "caller.txt"
    path.write_text("\n".join(LINES))
    with server_behind_a_cable(path) as cable:
        yield cable


async def converse(
    cable: Cable, actions: dict[float, Callable[[], None]], *, trailing: float = 3.0
) -> list[tuple[float, Event]]:
    """Speak in real time and act at some seconds of it; give the events with their times."""
    options = TurnsOptions(base_url=cable.url, allow_insecure=True)  # a network of its own
    heard: list[tuple[float, Event]] = []
    pending = sorted(actions.items(), key=lambda item: item[0])
    pcm = SCRIPT.audio() + PCM16.silence(trailing)
    async with InkTurnsClient(options, Credentials(api_key="k")) as client:
        started = time.monotonic()

        async def listen() -> None:
            heard.extend([(time.monotonic() - started, event) async for event in client])

        listening = asyncio.create_task(listen())
        size = PCM16.size(CHUNK)
        for number, start in enumerate(range(0, len(pcm), size), start=1):
            if pending and pending[0][0] <= number * CHUNK:
                await asyncio.to_thread(pending.pop(0)[1])
            client.send_audio(pcm[start : start + size])
            await asyncio.sleep(max(0.0, started + number * CHUNK - time.monotonic()))
        await client.finish()
        await listening
    return heard


def check(heard: list[tuple[float, Event]]) -> None:
    events = [event for _, event in heard]
    assert not any(isinstance(event, AudioGap) for event in events)
    assert_turn_order(events)
    assert_heard([e.transcript for e in events if isinstance(e, TurnEnd)], SCRIPT.transcripts)


async def test_a_cable_that_is_cut_in_a_turn_is_noticed_and_no_word_is_lost(cable: Cable) -> None:
    heard = await converse(cable, {1.0: cable.cut, 9.0: cable.mend}, trailing=10.0)
    check(heard)
    lost = [at for at, event in heard if isinstance(event, Disconnected)]
    assert 1.0 < lost[0] <= 1.0 + 6.5
    back = [at for at, event in heard if isinstance(event, Connected)]
    assert 9.0 < back[1] <= 9.0 + 6.5


async def test_a_cable_that_is_cut_for_a_moment_is_not_noticed_at_all(cable: Cable) -> None:
    heard = await converse(cable, {1.0: cable.cut, 1.6: cable.mend})
    check(heard)
    assert not any(isinstance(event, Disconnected) for _, event in heard)


async def test_a_link_as_narrow_as_the_audio_loses_no_word(cable: Cable) -> None:
    # 16-bit audio at 16 kHz is 256 kbit a second, framed a little more.
    heard = await converse(cable, {0.5: lambda: cable.throttle("320kbit")})
    check(heard)
