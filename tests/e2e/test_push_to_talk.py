"""`examples/push_to_talk_pipecat.py`, started as a newcomer starts it, with a button to hold."""

from __future__ import annotations

import asyncio

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.caller import SAMPLE_RATE
from cartesia_ink_plugins.testing import InkServer, Script
from tests.e2e.bots import running_bot
from tests.e2e.calling import WebCall, web_call

PIECE = 0.02
SCRIPT = Script("There will be six of us.", "A table for next Friday, please.")


async def speak(call: WebCall, pcm: bytes) -> None:
    """Speak in real time, as a browser sends it."""
    size = int(SAMPLE_RATE * PIECE) * 2
    for at in range(0, len(pcm) - size, size):
        await call.microphone.deliver(pcm[at : at + size])
        await asyncio.sleep(PIECE)


async def until(call: WebCall, kind: str, words: str) -> None:
    async with asyncio.timeout(60):
        while words not in " ".join(call.texts(kind)).lower():
            await asyncio.sleep(0.05)


async def test_what_is_said_while_the_button_is_held_is_answered() -> None:
    pcm = SCRIPT.audio()
    second = AudioFormat().size(SCRIPT.spans[1][0] - 0.5)
    async with InkServer(SCRIPT) as ink:
        environment = {"CARTESIA_BASE_URL": ink.url, "CARTESIA_API_KEY": "any"}
        async with (
            running_bot("push_to_talk_pipecat.py", environment=environment) as bot,
            web_call(bot.url, ()) as call,
        ):
            await speak(call, bytes(SAMPLE_RATE))
            await until(call, "bot-transcription", "for which day may i book")
            await speak(call, pcm[:second])  # nobody holds the button
            call.send("client-message", {"t": "button", "d": {"pressed": True}})
            await speak(call, pcm[second:])
            call.send("client-message", {"t": "button", "d": {"pressed": False}})
            await until(call, "bot-transcription", "for how many people")
            heard = call.texts("user-transcription")
            assert heard[-1].strip() == "A table for next Friday, please."
            assert not any("six" in words for words in heard)
