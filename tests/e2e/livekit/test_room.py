"""A room of a real LiveKit server, with a scripted caller: every word is known, so is every answer.

The script's coded speech survives the room's codec, so nothing here depends on recognition or on
how busy the machine is.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.e2e.livekit.caller import RoomCaller
from tests.e2e.livekit.rig import LiveKitServer, Worker
from tests.livekit.harness import until
from tests.needs import ROOT

pytestmark = pytest.mark.needs("livekit-server")

AGENT = ROOT / "tests" / "e2e" / "livekit" / "fleet_agent.py"
RATE = 24_000
ROOM = AudioFormat(sample_rate=RATE)
# An agent that has joined needs a moment to subscribe to the caller's track.
LEAD_IN = 3.0


async def test_every_turn_is_answered_and_a_lost_connection_is_not_heard(tmp_path: Path) -> None:
    script = Script(
        "I would like a table.",
        Turn("For two ... people at seven.", gap=1.0),
        lead_in=LEAD_IN,
    )
    async with (
        InkServer(script) as ink,
        LiveKitServer(tmp_path) as server,
        Worker(AGENT, server, tmp_path, env=environment(ink)) as worker,
        RoomCaller(server.url, server.token("caller", "room"), sample_rate=RATE) as call,
    ):
        await call.meet()
        began, before = time.monotonic(), worker.costs()
        speaking = asyncio.create_task(call.speak(script.audio(ROOM)))
        await until(lambda: any("For two" in said.text for said in call.said), seconds=30.0)
        ink.close_all(1012)
        await speaking
        for words in ("I would like a table.", "For two people at seven."):
            await call.answered(f"heard: {words}")
        # Each call has a process of its own: the one that was busy.
        took = time.monotonic() - began
        cpu, memory = max(
            (c - before.get(pid, (0.0,))[0], m) for pid, (c, m) in worker.costs().items()
        )
        print(f"\na call takes {1000 * cpu / took:.0f} ms of a core a second and {memory:.0f} MB")
        assert call.own_words == script.transcripts
        assert len(call.agent_words) == 2
        assert len(ink.connections) == 2
        assert {c.parameter("sample_rate") for c in ink.connections} == {str(RATE)}
        assert "Traceback" not in worker.log.read_text()


async def test_the_first_word_stops_the_agent(tmp_path: Path) -> None:
    """The answer to the first turn would be heard for half a minute."""
    script = Script("Tell me everything.", Turn("Stop.", gap=4.0), lead_in=LEAD_IN)
    async with (
        InkServer(script) as ink,
        LiveKitServer(tmp_path) as server,
        Worker(AGENT, server, tmp_path, env={**environment(ink), "SPEECH_SECONDS": "30"}),
        RoomCaller(server.url, server.token("caller", "room"), sample_rate=RATE) as call,
    ):
        await call.meet()
        await call.speak(script.audio(ROOM) + ROOM.silence(3.0))
        assert len(call.agent_pauses) == 1, "it stopped, and then it answered"


def environment(ink: InkServer) -> dict[str, str]:
    return {"CARTESIA_BASE_URL": ink.url, "CARTESIA_API_KEY": "any", "WORKER_NAME": "worker"}
