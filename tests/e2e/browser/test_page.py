"""The page of `examples/pipecat_bot.py` in a real browser, as people use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.importorskip("playwright", reason="pip install -e '.[dev]'")

from playwright.async_api import Browser

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.testing import InkServer
from tests.e2e.bots import RunningBot, running_bot
from tests.e2e.browser.person import DESKTOP, PHONE, browser_with, person_at, record
from tests.e2e.browser.prompter import Prompter

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser whose microphone hears nothing."""
    silence = record(tmp_path_factory.mktemp("browser") / "silence.wav", [1.0])
    async with browser_with(silence) as browser:
        yield browser


async def test_each_turn_is_shown_as_it_happens(
    bot: RunningBot, ink: Prompter, browser: Browser
) -> None:
    async with person_at(bot.url, browser) as person:
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


async def test_a_telephone_and_a_keyboard_are_enough(bot: RunningBot, browser: Browser) -> None:
    async with person_at(bot.url, browser, size=PHONE) as person:
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
    bot: RunningBot, browser: Browser
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
    async with person_at(bot.url, browser) as person:
        for event in events:
            await person.page.evaluate("event => tell(event)", event)
        said = await person.page.locator("#talk li").all_inner_texts()
    assert [" ".join(text.split()) for text in said] == [
        "You A table, please.",
        "Bot Very well. interrupted by you",
        "You Wait, for six.",
        "Bot For 6 people.",
    ]


async def test_nothing_is_hidden_when_the_screen_is_full(bot: RunningBot, browser: Browser) -> None:
    async with person_at(bot.url, browser, microphone_error="NotAllowedError") as person:
        await person.clicks("Call")
        await person.sees("The microphone is not allowed", "#notice")
        for width, height in (PHONE, (1024, 600), DESKTOP):
            size = f"{width} x {height}"
            await person.page.set_viewport_size({"width": width, "height": height})
            await person.page.evaluate("scrollTo(0, document.body.scrollHeight)")
            boxes = [
                await person.page.locator(where).bounding_box()
                for where in ("#history", "#line", ".legend", "footer")
            ]
            history, line, legend, footer = (box for box in boxes if box)
            assert legend["y"] + legend["height"] <= line["y"] + line["height"], size
            lowest = max(box["y"] + box["height"] for box in (history, line))
            assert lowest <= footer["y"], size


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The microphone is not allowed"),
        ("NotFoundError", "There is no microphone"),
        ("NotReadableError", "The microphone is in use"),
    ],
)
async def test_why_there_is_no_microphone_is_said(
    error: str, words: str, bot: RunningBot, browser: Browser
) -> None:
    async with person_at(bot.url, browser, microphone_error=error) as person:
        await person.clicks("Call")
        await person.sees(words, "#notice")


async def test_without_a_microphone_one_can_go_on(bot: RunningBot, browser: Browser) -> None:
    async with person_at(bot.url, browser, microphone_error="NotFoundError") as person:
        await person.clicks("Call")
        await person.clicks("Go on without a microphone")
        await person.sees("In a call, no mic", "#state")
        await person.has_heard_voice()
        await person.clicks("My name is Taylor.")
        await person.sees("My name is Taylor.", "#lines .playing")


async def test_the_page_asks_nothing_of_the_internet(bot: RunningBot, browser: Browser) -> None:
    async with person_at("about:blank", browser) as person:
        asked: list[str] = []
        person.page.on("request", lambda request: asked.append(request.url))
        await person.page.goto(bot.url)
        await person.calls()
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {bot.url[7:]}
