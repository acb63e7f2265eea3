"""`examples/push_to_talk_pipecat.py`, started as a newcomer starts it, with a button to hold."""

from __future__ import annotations

import asyncio

import pytest

from cartesia_ink_plugins.demo.caller import LINES, SAMPLE_RATE, recording
from tests.e2e.bots import running_bot
from tests.e2e.calling import WebCall, web_call

PIECE = 0.02


async def speak(call: WebCall, pcm: bytes) -> None:
    """Speak in real time, as a browser sends it."""
    size = int(SAMPLE_RATE * PIECE) * 2
    for at in range(0, len(pcm) - size, size):
        await call.microphone.deliver(pcm[at : at + size])
        await asyncio.sleep(PIECE)


async def until(call: WebCall, kind: str, words: str) -> None:
    async with asyncio.timeout(30):
        while words not in " ".join(call.texts(kind)).lower():
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_what_is_said_while_the_button_is_held_is_answered() -> None:
    example = "push_to_talk_pipecat.py"
    async with running_bot(example) as bot, web_call(bot.url, LINES[:1]) as call:
        await speak(call, bytes(SAMPLE_RATE))
        await until(call, "bot-transcription", "for which day may i book")
        await speak(
            call, recording(LINES[1])
        )  # nobody holds the button: nobody is meant to hear this
        call.send("client-message", {"t": "button", "d": {"pressed": True}})
        await speak(call, recording(LINES[0]))
        call.send("client-message", {"t": "button", "d": {"pressed": False}})
        await until(call, "user-transcription", "table")
        await until(call, "bot-transcription", "for how many people")
    assert "six" not in " ".join(call.texts("user-transcription")).lower()
