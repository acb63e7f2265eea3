"""`examples/push_to_talk_livekit.py` in a real room, with a button to hold.

LiveKit waits two seconds for the words of a turn that is committed; coded speech is heard at once
on any machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.server.speech.process import ANY_KEY
from cartesia_ink_plugins.testing import InkServer, Script
from tests.e2e.livekit.caller import RoomCaller
from tests.e2e.livekit.rig import LiveKitServer, Worker
from tests.needs import ROOT

pytestmark = [
    pytest.mark.needs("livekit-server", "livekit-agents>=1.8.9"),
    pytest.mark.timeout(300),
]

EXAMPLE = ROOT / "examples" / "push_to_talk_livekit.py"
RATE = 24_000
ROOM = AudioFormat(sample_rate=RATE)
SCRIPT = Script("There will be six of us.", "A table for next Friday, please.")
PCM = SCRIPT.audio(ROOM)
SECOND = ROOM.size(SCRIPT.spans[1][0] - 0.5)


async def test_what_is_said_while_the_button_is_held_is_answered(tmp_path: Path) -> None:
    async with InkServer(SCRIPT) as ink:
        env = {"CARTESIA_BASE_URL": ink.url, "CARTESIA_API_KEY": ANY_KEY}
        async with (
            LiveKitServer(tmp_path) as server,
            Worker(EXAMPLE, server, tmp_path, env=env) as worker,
            RoomCaller(server.url, server.token("caller", "table"), sample_rate=RATE) as caller,
        ):
            await caller.meet()
            await caller.answered("For which day may I book?", seconds=60.0)
            await caller.speak(PCM[:SECOND])  # nobody holds the button
            for _ in range(3):  # the room of a busy machine spoils a word now and then
                await caller.call("start_turn")
                await caller.speak(PCM[SECOND:])
                words = await caller.call("end_turn")
                if words.strip() == "A table for next Friday, please.":
                    break
            assert words.strip() == "A table for next Friday, please."
            await caller.answered("For how many people?")
            assert "Traceback" not in worker.log.read_text()
