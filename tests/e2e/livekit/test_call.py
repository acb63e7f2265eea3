"""A call through a real LiveKit server to a real worker that runs the example."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cartesia_ink_plugins.demo.booking import make_booking
from cartesia_ink_plugins.demo.caller import expected_booking
from tests.e2e.livekit.caller import RoomCaller
from tests.e2e.livekit.rig import LiveKitServer, Worker
from tests.needs import ROOT

pytestmark = [pytest.mark.needs("livekit-server"), pytest.mark.timeout(300)]

EXAMPLE = ROOT / "examples" / "livekit_agent.py"


async def test_a_caller_books_a_table_and_interrupts_the_agent(tmp_path: Path) -> None:
    async with (
        LiveKitServer(tmp_path) as server,
        Worker(EXAMPLE, server, tmp_path) as worker,
        RoomCaller(server.url, server.token("caller", "table")) as call,
    ):
        await call.converse()
        print(call.transcript())

        # The reference is made of the facts: with another day, time, name or number it is another.
        booking = make_booking(expected_booking(date.today()))
        assert any(" ".join(booking["reference"]) in words for words in call.agent_words)

        # "Wait, could we come at eight o'clock instead?" stopped it before it had read all back.
        assert not any(
            "7:30" in words and "Shall I book it?" in words for words in call.agent_words
        )

        assert call.seconds_of_agent > 5.0
        assert "Traceback" not in worker.log.read_text()
