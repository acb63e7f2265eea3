"""The page of `examples/push_to_talk_pipecat.py` in a real browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="pip install -e '.[dev]'")

from cartesia_ink_plugins.testing import InkServer, Script
from tests.e2e.bots import running_bot
from tests.e2e.browser.person import PHONE, browser_with, person_at, record

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(240)]


async def test_a_bot_is_called_a_key_is_held_and_a_bot_that_is_gone_is_told(tmp_path: Path) -> None:
    microphone = record(tmp_path / "silence.wav", [1.0])
    async with InkServer(Script("Hello.")) as server:
        environment = {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any"}
        async with (
            running_bot("push_to_talk_pipecat.py", environment=environment) as bot,
            browser_with(microphone) as browser,
            person_at(bot.url, browser, size=PHONE) as person,
        ):
            await person.clicks("Call the bot")
            await person.sees("For which day may I book?", "#said .bot")
            (call,) = server.connections
            assert call.audio_bytes == 0
            await person.page.keyboard.down("Space")
            await person.sees("Listening", "#state")
            async with asyncio.timeout(60):
                while not call.audio_bytes:
                    await asyncio.sleep(0.05)
            await person.page.keyboard.up("Space")
            await person.sees("Connected", "#state")
            bot.process.kill()
            await person.sees("The call is over", "#state")
            await person.clicks("Call the bot")
            await person.sees("No call", "#state")
