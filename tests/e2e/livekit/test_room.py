"""A room of a real LiveKit server, with a scripted caller: every word is known, so is every answer.

The script's coded speech survives the room's codec, so nothing here depends on recognition.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.server.coded_speech import CodedWord, WordReader
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.e2e.livekit.again import Spoilt, held_again
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


@dataclass(slots=True)
class Room:
    """A call in progress: the Ink server, the worker, the caller."""

    script: Script
    ink: InkServer
    worker: Worker
    call: RoomCaller
    heard: Path

    def brought(self) -> str:
        """The words in the audio that the agent was given."""
        coded = WordReader(ROOM).read(self.heard.read_bytes())
        words = self.script.vocabulary
        return "".join(words[word.index] for word in coded if isinstance(word, CodedWord))


@asynccontextmanager
async def room(folder: Path, script: Script, **environment: str) -> AsyncIterator[Room]:
    """Start all it takes for a call, and wait until the agent has joined.

    Raises:
        Spoilt: The test failed, and the room had not brought the agent every word.
    """
    heard = folder / "heard.pcm"
    async with InkServer(script) as ink, LiveKitServer(folder) as server:
        environment |= {"CARTESIA_BASE_URL": ink.url, "CARTESIA_API_KEY": "any"}
        environment |= {"WORKER_NAME": "worker", "HEARD": str(heard)}
        caller = RoomCaller(server.url, server.token("caller", "room"), sample_rate=RATE)
        async with Worker(AGENT, server, folder, env=environment) as worker, caller as call:
            await call.meet()
            talk = Room(script, ink, worker, call, heard)
            try:
                yield talk
            except (AssertionError, TimeoutError) as error:
                if (brought := talk.brought().strip()) != "".join(script.transcripts):
                    raise Spoilt(f"the room brought: {brought}") from error
                raise


@held_again
async def test_the_first_word_stops_the_agent_and_a_lost_connection_is_not_heard(
    tmp_path: Path,
) -> None:
    """The answer to the first turn would be heard for half a minute."""
    script = Script(
        "Tell me everything.",
        Turn("I would like a table.", gap=4.0),
        Turn("For two ... people at seven.", gap=1.0),
        lead_in=LEAD_IN,
    )
    async with room(tmp_path, script, LONG_ANSWER_TO="everything") as talk:
        call, began, before = talk.call, time.monotonic(), talk.worker.costs()
        speaking = asyncio.create_task(call.speak(script.audio(ROOM)))
        await until(lambda: any("For two" in said.text for said in call.said), seconds=30.0)
        talk.ink.close_all(1012)
        await speaking
        for words in ("I would like a table.", "For two people at seven."):
            await call.answered(f"heard: {words}")
            answers = [said for said in call.agent_words if words in said]
            assert len(answers) == 1, "each turn is answered once"
        assert call.agent_pauses, "it stopped, and then it answered"
        # Each call has a process of its own: the one that was busy.
        took = time.monotonic() - began
        cpu, memory = max(
            (c - before.get(pid, (0.0,))[0], m) for pid, (c, m) in talk.worker.costs().items()
        )
        print(f"\na call takes {1000 * cpu / took:.0f} ms of a core a second and {memory:.0f} MB")
        assert call.own_words == script.transcripts
        assert len(call.agent_words) <= 3
        assert len(talk.ink.connections) == 2, "one connection was lost, and one replaced it"
        assert {c.parameter("sample_rate") for c in talk.ink.connections} == {str(RATE)}
        assert "Traceback" not in talk.worker.log.read_text()
