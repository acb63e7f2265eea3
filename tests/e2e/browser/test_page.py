"""The page of `examples/pipecat_bot.py` in a real browser, as people use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

pytest.importorskip("playwright", reason="pip install -e '.[dev]'")

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.testing import InkServer
from tests.e2e.bots import RunningBot, running_bot
from tests.e2e.browser.person import DESKTOP, PHONE, person_at, record
from tests.e2e.browser.prompter import Prompter

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    return record(tmp_path / "silence.wav", [1.0])


def environment(server: InkServer) -> dict[str, str]:
    return {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ink() -> AsyncIterator[Prompter]:
    """What the bot of this module hears."""
    yield Prompter()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(ink: Prompter) -> AsyncIterator[RunningBot]:
    """A bot that every test may call; it takes seconds to start."""
    async with (
        InkServer(ink) as server,
        running_bot(environment=environment(server)) as bot,
    ):
        yield bot


async def test_a_caller_talks_and_is_answered(tmp_path: Path) -> None:
    """Speech recognition and all: what a newcomer sees and hears."""
    caller = record(tmp_path / "caller.wav", [10.0, "1_date", 10.0, "2_party", 30.0])
    async with running_bot() as bot, person_at(bot.url, caller) as person:
        await person.calls()
        await person.has_heard_voice()
        await person.sees("table", "#talk .you")
        await person.sees("six of us", "#talk .you")
        await person.sees("bot heard", "#talk .you .facts")
        await person.sees("At what time?", "#talk .bot")


async def test_each_turn_is_shown_as_it_happens(
    bot: RunningBot, ink: Prompter, silence: Path
) -> None:
    async with person_at(bot.url, silence) as person:
        await person.calls()
        await person.sees("For which day may I book?", "#talk .bot")
        ink.hears(TurnStart(), TurnUpdate("A table, please."))
        await person.sees("A table, please.", "#heard")
        ink.hears(TurnEagerEnd("A table, please."))
        await person.sees("a reply is begun, and held back", "#doing")
        ink.hears(TurnResume())
        await person.sees("You went on: the reply is withdrawn", "#doing")
        whole = "A table, please. For next Friday."
        ink.hears(TurnUpdate(whole), TurnEagerEnd(whole))
        await person.sees("a reply is begun, and held back", "#doing")
        ink.hears(TurnEnd(whole))
        # On a busy machine it may have spoken before anything else is looked at.
        await person.sees("The bot speaks", "#doing")
        ink.hears(TurnStart(), TurnUpdate("Wait"))
        await person.sees("interrupted by you", "#talk .bot")
        await person.has_heard_voice()
        await person.hears_silence()
        assert "how many people" not in await person.page.inner_text("#talk")
        await person.sees(whole, "#talk .you")
        await person.sees("a reply withdrawn", "#talk .you .facts")
        await person.sees("s early", "#talk .you .facts")

        ink.hears(TurnEagerEnd("Wait, for six people."), TurnEnd("Wait, for six people."))
        await person.sees("Wait, for six people.", "#talk .you")
        await person.sees("At what time?", "#talk .bot")


async def test_a_telephone_and_a_keyboard_are_enough(bot: RunningBot, silence: Path) -> None:
    async with person_at(bot.url, silence, size=PHONE) as person:
        page = person.page
        await page.keyboard.press("c")
        await person.sees("In a call", "#state")
        await person.sees("For which day may I book?", "#talk .bot")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(overflow) == 0
        await page.keyboard.press("m")
        await person.sees("Muted", "#mute")
        await page.keyboard.press("/")
        await page.keyboard.type("On Friday, for two people.")
        await page.keyboard.press("Enter")
        await person.sees("On Friday, for two people.", "#talk .you")
        await person.sees("At what time?", "#talk .bot")
        await page.keyboard.press("Escape")
        await person.sees("Not connected", "#state")
        await person.sees("Call again", "#call")


async def test_what_is_told_late_of_an_interrupted_reply_stands_with_it(
    bot: RunningBot, silence: Path
) -> None:
    events: list[dict[str, str]] = [
        {"kind": "turn.start"},
        {"kind": "turn.end", "text": "A table, please."},
        {"kind": "bot.start"},
        {"kind": "turn.start"},
        {"kind": "interruption"},
        {"kind": "bot.stop"},
        {"kind": "bot.text", "text": "Very well."},
        {"kind": "turn.end", "text": "Wait, for six."},
        {"kind": "bot.start"},
        {"kind": "bot.text", "text": "For 6 people."},
    ]
    async with person_at(bot.url, silence) as person:
        for event in events:
            await person.page.evaluate("event => tell(event)", event)
        said = await person.page.locator("#talk li").all_inner_texts()
    assert [" ".join(text.split()) for text in said] == [
        "You A table, please.",
        "Bot Very well. interrupted by you",
        "You Wait, for six.",
        "Bot For 6 people.",
    ]


@pytest.mark.parametrize("size", [PHONE, (1024, 600), DESKTOP])
async def test_nothing_is_hidden_when_the_screen_is_full(
    size: tuple[int, int], bot: RunningBot, silence: Path
) -> None:
    error = "NotAllowedError"
    async with person_at(bot.url, silence, microphone_error=error, size=size) as person:
        await person.clicks("Call")
        await person.sees("The microphone is not allowed", "#notice")
        await person.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        boxes = [
            await person.page.locator(where).bounding_box()
            for where in ("#history", "#line", ".legend", "footer")
        ]
        history, line, legend, footer = (box for box in boxes if box)
        assert legend["y"] + legend["height"] <= line["y"] + line["height"]
        lowest = max(box["y"] + box["height"] for box in (history, line))
        assert lowest <= footer["y"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The microphone is not allowed"),
        ("NotFoundError", "There is no microphone"),
        ("NotReadableError", "The microphone is in use"),
    ],
)
async def test_why_there_is_no_microphone_is_said(
    error: str, words: str, bot: RunningBot, silence: Path
) -> None:
    async with person_at(bot.url, silence, microphone_error=error) as person:
        await person.clicks("Call")
        await person.sees(words, "#notice")


async def test_without_a_microphone_one_can_go_on(bot: RunningBot, silence: Path) -> None:
    async with person_at(bot.url, silence, microphone_error="NotFoundError") as person:
        await person.clicks("Call")
        await person.clicks("Go on without a microphone")
        await person.sees("In a call, no mic", "#state")
        await person.has_heard_voice()
        await person.clicks("My name is Taylor.")
        await person.sees("My name is Taylor.", "#lines .playing")


async def test_a_bot_that_is_gone_is_said_to_be_gone(silence: Path) -> None:
    async with (
        InkServer(Prompter()) as server,
        running_bot(environment=environment(server)) as bot,
        person_at(bot.url, silence) as person,
    ):
        await person.calls()
        await person.sees("For which day may I book?", "#talk .bot")
        bot.process.kill()
        await person.sees("The bot is gone", "#notice")
        await person.page.locator("#notice").get_by_role("button", name="Call again").click()
        await person.sees("The bot cannot be reached", "#notice")
        await person.sees("For which day may I book?", "#talk .bot")  # nothing is lost


async def test_the_page_asks_nothing_of_the_internet(bot: RunningBot, silence: Path) -> None:
    async with person_at("about:blank", silence) as person:
        asked: list[str] = []
        person.page.on("request", lambda request: asked.append(request.url))
        await person.page.goto(bot.url)
        await person.calls()
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {bot.url[7:]}
