"""The page in Chromium: all that was planted is found by role and text, and can be played."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from cartesia_ink_plugins.cli.main import main
from tests.needs import chromium
from tests.observe.timeline.planted import Planted, eventful_call, long_call

pytestmark = pytest.mark.needs("chromium")

LARGEST = 3_000_000
"""Bytes of a page of five minutes."""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    call = eventful_call()
    call.speak(30.0)
    return made(call, folder)


def made(call: Planted, folder: Path) -> Path:
    output = folder / "call.html"
    assert main(["timeline", str(call.write(folder / "call.ink")), "-o", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file: it takes longer to start than to open a page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, **options: Any) -> Iterator[Page]:
    """The page, from disk; fails if it asks a network for anything, or if its script fails."""
    wrong: list[str] = []

    def ask(request: Request) -> None:
        if not request.url.startswith(("file:", "blob:")):
            wrong.append(request.url)

    context = browser.new_context(**options)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", ask)
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not wrong


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; the page's policy forbids Playwright's own way."""
    while not page.evaluate(expression):
        page.wait_for_timeout(50)


PLANTED = {
    "turns": [
        "turn 1: Hello <there>",
        "turn 2: a table for two",
        "turn 3: at eight",
        "turn 4: (no text)",
        "turn 5: and (not ended)",
    ],
    "predicted ends": [
        "turn 1 may have ended: Hello",
        "turn 1 may have ended: Hello <there>",
        "turn 1 went on",
    ],
    "early replies": [
        "early reply to turn 1 withdrawn, 120 tokens read, 5 tokens written",
        "early reply to turn 1 kept, 125 tokens read",
    ],
    "bot": [
        "the bot speaks for 1.5 s",
        "the bot speaks for 1.5 s",
        "the bot speaks for 2.1 s",
        "the bot speaks for 2.0 s",
        "the caller interrupted the bot",
    ],
    "connection": [
        "connection 1, request id request-1, lost: closed with 1006",
        "connection 2, request id request-2, closed",
        "connection 1 lost: closed with 1006; the next attempt follows at once",
        "an attempt to connect failed: refused with 503; next attempt in 0.25 s",
        "catching up: 1.6 s of audio sent again",
        "the server reports: 500 overloaded",
    ],
    "audio sent again": ["1.6 s of audio sent again"],
    "silence put in": ["0.4 s of silence put in"],
    "audio given up": ["1.2 s of audio given up"],
    "thresholds": [
        "thresholds: start 0.8, eager end 0.6, end 0.3",
        "thresholds: start 0.8, eager end 0.6, end 0.1",
    ],
}


def test_everything_planted_is_on_its_lane_by_role_and_text(
    browser: Browser, page_file: Path
) -> None:
    with opened(browser, page_file) as page:
        for lane, names in PLANTED.items():
            group = page.get_by_role("group", name=lane, exact=True)
            buttons = group.get_by_role("button").all()
            found = [button.get_attribute("aria-label") for button in buttons]
            assert sorted(map(str, found)) == sorted(names)


def test_everything_planted_is_in_the_list_and_the_tables(
    browser: Browser, page_file: Path
) -> None:
    with opened(browser, page_file) as page:
        lines = page.get_by_role("listitem").all_inner_texts()
        for told in (
            "0:04.8 the reply to turn 1 was withdrawn (120 tokens read, 5 tokens written)",
            "0:06.4 the reply to turn 1 was kept (125 tokens read)",
            "0:08.0 the caller interrupted the bot",
            "0:09.0 connection 1 lost: closed with 1006; the next attempt follows at once",
            "0:09.3 connection 2 opened",
            "0:09.3 catching up: 1.6 s of audio sent again",
            "0:15.5 1.2 s of audio given up",
            "0:16.3 0.4 s of silence put in",
        ):
            assert told in [re.sub(r"\s+", " ", line).strip() for line in lines], told
        assert lines[0].startswith("turn 2: 1.9 s, of which 1.1 s the server waited for silence,")
        row = page.get_by_role("row").filter(has_text="a table for two")
        assert row.get_by_role("cell").all_inner_texts() == [
            "2", "0:08.0", "a table for two", "1.10 s", "1.70 s", "1.90 s", "1.90 s", "",
        ]  # fmt: skip


def test_a_click_plays_from_there(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.get_by_role("button", name="turn 2: a table for two").click()
        until(page, "document.querySelector('audio').currentTime > 8.05")
        length = page.evaluate("document.querySelector('audio').duration")
        assert length == pytest.approx(30.0, abs=0.1)
        # At 3/4 of the waveform.
        box = page.get_by_role("group", name="caller").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
        until(page, "document.querySelector('audio').currentTime >= 22.4")
        assert page.evaluate("document.querySelector('audio').currentTime") < 25


def test_what_is_played_is_what_was_heard(browser: Browser, page_file: Path) -> None:
    """The script decodes the sound as it was; it is compared with the recording's loudness."""
    with opened(browser, page_file, bypass_csp=True) as page:  # the page itself may fetch nothing
        peaks = page.evaluate(
            """async () => {
              const data = await (await fetch(document.querySelector('audio').src)).arrayBuffer();
              const pcm = new Int16Array(data, 44), found = [];
              for (let at = 0; at + 8000 <= pcm.length; at += 8000)
                found.push(Math.max(...pcm.subarray(at, at + 8000).map(Math.abs)));
              return found;
            }"""
        )
    call = eventful_call()
    call.speak(30.0)
    assert call.sound is not None
    heard = call.sound.astype(int).sum(axis=1).clip(-32768, 32767).reshape(-1, 2).mean(axis=1)
    assert peaks == pytest.approx(np.abs(heard).reshape(30, -1).max(axis=1).tolist(), rel=0.2)


def test_the_keyboard_moves_plays_and_zooms(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.keyboard.press("n")
        page.keyboard.press("n")
        focused = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(focused) == "turn 2: a table for two"
        page.keyboard.press("p")
        assert page.evaluate(focused) == "turn 1: Hello <there>"
        page.keyboard.press("Enter")
        until(page, "document.querySelector('audio').currentTime > 3")
        width = "document.querySelector('.call').clientWidth"
        before = page.evaluate(width)
        page.keyboard.press("+")
        assert page.evaluate(width) == pytest.approx(2 * before, rel=0.01)
        page.keyboard.press("-")
        assert page.evaluate(width) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(browser: Browser, page_file: Path, scheme: str) -> None:
    with opened(browser, page_file, color_scheme=scheme) as page:
        colours = page.evaluate(
            """() => { const at = getComputedStyle(document.body);
                       return [at.color, at.backgroundColor]; }"""
        )
    front, back = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert (front < back) is (scheme == "light")
    assert abs(front - back) > 450


def test_a_narrow_screen_scrolls_only_the_chart(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, viewport={"width": 360, "height": 740}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("document.querySelector('.call').clientWidth") > 800


def test_on_paper_the_whole_call_is_seen(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, viewport={"width": 700, "height": 900}) as page:
        page.keyboard.press("+")
        page.emulate_media(media="print")
        widths = page.evaluate(
            """["main", ".call"].map(one => document.querySelector(one).clientWidth)"""
        )
        assert widths[1] <= widths[0]
        assert not page.locator("audio").is_visible()


def test_without_sound_the_page_still_shows(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, made(eventful_call(), tmp_path)) as page:
        page.get_by_role("button", name="turn 2: a table for two").click()
        assert page.get_by_text("without sound").is_visible()
        assert (
            page.evaluate("document.querySelector('.now').style.left") == "26.3333%"
        )  # its speech


def test_five_minutes_are_small(tmp_path: Path) -> None:
    assert made(long_call(5), tmp_path).stat().st_size <= LARGEST


def test_several_calls_become_one_page(browser: Browser, tmp_path: Path) -> None:
    names = []
    for number, replies in enumerate([(1.0, 2.0), (3.0, 4.0)]):
        call = Planted()
        call.start()
        for at, reply in enumerate(replies):
            call.simple_turn(10.0 * at + 1, f" words {number}", reply=reply)
        names.append(str(call.write(tmp_path / f"call{number}.ink")))
    output = tmp_path / "calls.html"
    assert main(["timeline", *names, "-o", str(output)]) == 0
    with opened(browser, output) as page:
        row = page.get_by_role("row").filter(has_text="the bot spoke")
        assert row.get_by_role("cell").all_inner_texts() == [
            "4", "2.00 s", "4.00 s", "4.00 s", "4.00 s",
        ]  # fmt: skip
        assert page.get_by_role("link").all_inner_texts() == ["call0.ink", "call1.ink"]
        assert page.get_by_role("heading", name="call1.ink").is_visible()
