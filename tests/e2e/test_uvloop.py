"""The event loop that many servers run bots on, such as Pipecat's runner."""

from __future__ import annotations

import asyncio

import uvloop

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnEnd, TurnsOptions
from cartesia_ink_plugins.testing import InkServer, Script

SCRIPT = Script("Hello there.", "A table, please.")


async def transcripts() -> list[str]:
    async with InkServer(SCRIPT) as server:
        options = TurnsOptions(base_url=server.url)
        async with InkTurnsClient(options, Credentials(api_key="any")) as client:

            async def speak() -> None:
                pcm = SCRIPT.audio()
                for start in range(0, len(pcm), 1600):
                    client.send_audio(pcm[start : start + 1600])
                    await asyncio.sleep(0.02)  # the server takes audio faster than it is spoken
                await client.finish()

            speaking = asyncio.create_task(speak())
            heard = [event.transcript async for event in client if isinstance(event, TurnEnd)]
            await speaking
    return heard


def test_the_client_runs_on_uvloop() -> None:
    assert uvloop.run(asyncio.wait_for(transcripts(), 60)) == SCRIPT.transcripts
