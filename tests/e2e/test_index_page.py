"""The bots of the documentation's first page, copied from it, hear who speaks to them."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script
from tests.e2e.bots import running_bot
from tests.e2e.calling import web_call
from tests.e2e.livekit.again import Spoilt, held_again
from tests.e2e.livekit.test_console import terminal
from tests.e2e.sound import virtual_sound
from tests.needs import ROOT

SCRIPT = Script("A table for next Friday, please.")
SAID = "You said: A table for next Friday, please."


def saved(name: str, folder: Path) -> Path:
    """Save the program that the page says to save under a name."""
    page = (ROOT / "docs" / "index.md").read_text("utf-8")
    [program] = re.findall(rf"^Save this as `{name}`:\n\n```python\n(.*?)^```$", page, re.M | re.S)
    (folder / name).write_text(program, "utf-8")
    return folder / name


async def test_the_pipecat_bot_hears_its_caller(tmp_path: Path) -> None:
    pcm = SCRIPT.audio() + bytes(AudioFormat().size(2.0))
    step = AudioFormat().size(0.02)
    async with InkServer(SCRIPT) as ink:
        environment = {"CARTESIA_BASE_URL": ink.url, "CARTESIA_API_KEY": "any"}
        program = saved("bot.py", tmp_path)
        async with (
            running_bot(program, environment=environment) as bot,
            web_call(bot.url, [], []) as call,
        ):
            for start in range(0, len(pcm), step):
                await call.microphone.deliver(pcm[start : start + step])
                await asyncio.sleep(0.02)
            async with asyncio.timeout(60):
                while SAID.encode() not in bot.said:
                    await asyncio.sleep(0.05)
        assert bot.said.decode().count("You said:") == 1


@pytest.mark.needs("pulseaudio")
@held_again
async def test_the_livekit_agent_hears_its_caller(tmp_path: Path) -> None:
    program = saved("agent.py", tmp_path)
    async with InkServer(SCRIPT) as ink, virtual_sound(tmp_path) as sound:
        environment = {
            **sound.environment,
            "PATH": os.environ["PATH"],
            "CARTESIA_BASE_URL": ink.url,
            "CARTESIA_API_KEY": "any",
        }
        async with terminal("console", program=program, environment=environment) as screen:
            while not any(connection.is_open for connection in ink.connections):
                await asyncio.sleep(0.05)
            await sound.say(SCRIPT.audio() + bytes(AudioFormat().size(2.0)))
            try:
                await screen.shows(SAID)
            except TimeoutError:
                heard = [text for one in ink.connections for text in one.transcripts]
                if heard != SCRIPT.transcripts:  # sound was dropped on its way
                    raise Spoilt(f"Ink heard: {heard}") from None
                raise
        assert screen.text.count("You said:") == 1
