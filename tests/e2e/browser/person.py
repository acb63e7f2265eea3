"""A person at the page of a bot: a real browser without a screen, its microphone a recording."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from cartesia_ink_plugins.demo.caller import LINES, SAMPLE_RATE, recording
from tests.needs import chromium

DESKTOP = (1280, 800)
PHONE = (390, 844)

# Without a hook in the page: whoever makes a peer connection is known from here on.
_KEEP_PEER = """
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...rest) { super(...rest); window.lastPeer = this; }
};
"""
_REFUSE_MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "%s"); };
"""
_HEARD = """
async () => {
  const report = await window.lastPeer.getStats();
  const inbound = [...report.values()].find((one) => one.type === "inbound-rtp");
  return inbound ? inbound.totalAudioEnergy : 0;
}
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who looks at the page.

    Attributes:
        page: The page.
    """

    page: Page

    async def sees(self, text: str, where: str = "body", *, timeout: float = 60.0) -> None:
        """Wait until a text can be seen.

        Args:
            text: A part of what stands there.
            where: The selector of the element.
            timeout: Seconds to wait.
        """
        element = self.page.locator(where).filter(has_text=text).first
        await element.wait_for(timeout=timeout * 1000)

    async def clicks(self, name: str) -> None:
        """Click a button by the words on it."""
        await self.page.get_by_role("button", name=name).click()

    async def calls(self) -> None:
        """Call the bot and wait until it has answered."""
        await self.clicks("Call")
        await self.sees("In a call", "#state")

    async def loudness(self, seconds: float = 0.3) -> float:
        """How much of the bot's voice the browser hears in a while; 0 is silence."""
        before = await self.page.evaluate(_HEARD)
        await asyncio.sleep(seconds)
        return float(await self.page.evaluate(_HEARD)) - float(before)

    async def has_heard_voice(self, timeout: float = 60.0) -> None:
        """Wait until the bot has been heard in this call, whether it still speaks or not."""
        async with asyncio.timeout(timeout):
            while float(await self.page.evaluate(_HEARD)) < _VOICE:
                await asyncio.sleep(0.1)

    async def hears_silence(self, timeout: float = 60.0) -> None:
        """Wait until the bot is not heard."""
        async with asyncio.timeout(timeout):
            while await self.loudness() >= _VOICE:
                pass


_VOICE = 1e-5  # of full scale squared times seconds; speech gives thousandths


@asynccontextmanager
async def browser_with(microphone: Path) -> AsyncIterator[Browser]:
    """Start a browser, which takes seconds; each person in it has cookies of their own.

    Args:
        microphone: The recording to be played once.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(),
            args=[
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
                "--autoplay-policy=no-user-gesture-required",
                "--no-sandbox",
            ],
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def person_at(
    url: str,
    browser: Browser,
    *,
    microphone_error: str | None = None,
    size: tuple[int, int] = DESKTOP,
) -> AsyncIterator[Person]:
    """Open a page; a script of it that fails, fails the test.

    Args:
        url: Of the page.
        browser: The browser.
        microphone_error: With what the browser refuses its microphone, if it does.
        size: Of the screen, in CSS pixels.
    """
    failures: list[str] = []
    async with await browser.new_context(viewport={"width": size[0], "height": size[1]}) as context:
        page = await context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: failures.append(str(error)))
        await page.add_init_script(_KEEP_PEER)
        if microphone_error:
            await page.add_init_script(_REFUSE_MICROPHONE % microphone_error)
        await page.goto(url)
        yield Person(page)
    assert failures == []


def record(path: Path, parts: Sequence[float | int | str]) -> Path:
    """Make a recording for the microphone.

    Args:
        path: Of the file.
        parts: Seconds of silence, and names of the recorded caller's lines.
    """
    lines = {line.name: line for line in LINES}
    pcm = b"".join(
        recording(lines[part]) if isinstance(part, str) else bytes(int(part * SAMPLE_RATE) * 2)
        for part in parts
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm)
    return path
