"""`stats()` of an STT counts all its streams, and each stream its own session."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins import Stats
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, paced

ROOM = AudioFormat(sample_rate=ROOM_RATE)


async def test_each_stream_and_the_stt_tell_their_stats(make_ink: MakeSTT) -> None:
    script = Script("Hello.")
    audio = script.audio(ROOM)
    of_streams: list[Stats] = []
    async with InkServer(script) as server:
        recogniser = make_ink(server.url)
        assert recogniser.stats().turns == 0
        for _ in range(2):
            async with recogniser.stream() as stream:
                assert stream.stats().received == 0
                async for frame in paced(audio):
                    stream.push_frame(frame)
                stream.end_input()
                async for _ in stream:
                    pass
            of_streams.append(stream.stats())
    total = recogniser.stats()
    for stats in of_streams:
        assert (stats.turns, stats.connections, stats.predictions) == (1, 1, 1)
        assert stats.received == pytest.approx(script.seconds, abs=0.1)
        assert stats.end_latency.count == 1
    assert (total.turns, total.connections, total.end_latency.count) == (2, 2, 2)
    assert total.received == pytest.approx(sum(stats.received for stats in of_streams))
