"""A whole call at the page of `examples/pipecat_bot.py`, in a real browser with real speech."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="pip install -e '.[dev]'")

from tests.e2e.bots import running_bot
from tests.e2e.browser.person import browser_with, person_at, record

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(240)]


async def test_a_caller_talks_and_is_answered_until_the_bot_is_gone(tmp_path: Path) -> None:
    """Speech recognition and all: what a newcomer sees and hears."""
    caller = record(tmp_path / "caller.wav", [10.0, "1_date", 10.0, "2_party", 30.0])
    async with (
        running_bot() as bot,
        browser_with(caller) as browser,
        person_at(bot.url, browser) as person,
    ):
        await person.calls()
        await person.has_heard_voice()
        await person.sees("table", "#talk .you")
        await person.sees("six of us", "#talk .you")
        await person.sees("bot heard", "#talk .you .facts")
        await person.sees("At what time?", "#talk .bot")
        bot.process.kill()
        await person.sees("The bot is gone", "#notice")
        await person.page.locator("#notice").get_by_role("button", name="Call again").click()
        await person.sees("The bot cannot be reached", "#notice")
        await person.sees("At what time?", "#talk .bot")  # nothing is lost
