"""`examples/push_to_talk_livekit.py` in a real room, with a button to hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartesia_ink_plugins.demo.caller import LINES, SAMPLE_RATE, recording
from tests.e2e.livekit.caller import RoomCaller
from tests.e2e.livekit.rig import LiveKitServer, Worker
from tests.needs import ROOT

pytestmark = [
    pytest.mark.needs("livekit-server", "livekit-agents>=1.8.9"),
    pytest.mark.timeout(300),
]

EXAMPLE = ROOT / "examples" / "push_to_talk_livekit.py"


async def test_what_is_said_while_the_button_is_held_is_answered(tmp_path: Path) -> None:
    async with (
        LiveKitServer(tmp_path) as server,
        Worker(EXAMPLE, server, tmp_path) as worker,
        RoomCaller(server.url, server.token("caller", "table")) as caller,
    ):
        await caller.meet()
        await caller.answered("For which day may I book?", seconds=60.0)
        await caller.speak(recording(LINES[1]))  # nobody holds the button
        await caller.call("start_turn")
        await caller.speak(recording(LINES[0]) + bytes(SAMPLE_RATE))
        words = await caller.call("end_turn")
        assert "table" in words
        assert "six" not in words
        await caller.answered("For how many people?")
        assert "Traceback" not in worker.log.read_text()
