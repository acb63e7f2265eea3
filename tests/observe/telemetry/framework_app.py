"""A Pipecat bot or a LiveKit agent that is spoken to; nothing in it is about OpenTelemetry.

Run with the name of the framework.
"""

from __future__ import annotations

import asyncio
import sys

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script

SCRIPT = Script("A table ... for two.")


async def pipecat() -> None:
    from cartesia_ink_plugins.pipecat import InkTurnsSTTService
    from tests.pipecat.conversation import conversation

    async with InkServer(SCRIPT) as server:
        stt = InkTurnsSTTService(api_key="any", url=server.url)
        async with conversation(stt, tracing=True) as talk:
            await talk.say(SCRIPT.audio() + bytes(32_000))
            await talk.until(lambda: bool(talk.voice.spoken))
            await talk.quiet()


async def livekit() -> None:
    from cartesia_ink_plugins import livekit as ink
    from tests.livekit.harness import ROOM_RATE, call

    room = AudioFormat(sample_rate=ROOM_RATE)
    async with InkServer(SCRIPT) as server:
        stt = ink.STT(api_key="any", base_url=server.url)
        async with call(stt) as running:
            await running.microphone.speak(SCRIPT.audio(room) + room.silence(0.5))
            await running.answered(1)
        await stt.aclose()


if __name__ == "__main__":
    asyncio.run({"pipecat": pipecat, "livekit": livekit}[sys.argv[1]]())
