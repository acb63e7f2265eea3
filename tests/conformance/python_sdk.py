"""A program of its own: Cartesia's Python SDK, as its users run it, against any server.

It runs in `.venv-conformance`, because the SDK allows no websockets newer than 15. Its argument is
a task in JSON, its input raw 16-bit mono audio; it prints what the SDK's user gets, in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from cartesia import AsyncCartesia

CHUNK = 0.1  # seconds
KEY = "sk_test"


async def chunks(pcm: bytes, task: dict[str, Any]) -> AsyncIterator[bytes]:
    """The audio in pieces, at once or in real time."""
    size = int(task["rate"] * CHUNK) * 2
    started = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), size), start=1):
        yield pcm[start : start + size]
        await asyncio.sleep(
            max(0.0, started + number * CHUNK - time.monotonic()) * task["real_time"]
        )


def connect_options(task: dict[str, Any]) -> dict[str, Any]:
    """What both endpoints are opened with."""
    options = {"model": task["model"], "encoding": "pcm_s16le", "sample_rate": task["rate"]}
    if task["version"]:
        options["extra_query"] = {"cartesia_version": task["version"]}
    return options


async def turns(client: AsyncCartesia, task: dict[str, Any], pcm: bytes) -> list[str]:
    """The auto-finalize WebSocket; one text for each `turn.end`."""
    async with client.stt.auto_finalize.websocket(
        keyterm=["table for two"], **connect_options(task)
    ) as connection:

        async def speak() -> None:
            async for chunk in chunks(pcm, task):
                await connection.send_raw(chunk)
            await connection.send({"type": "close"})

        speaking = asyncio.create_task(speak())
        events = [event async for event in connection]
        await speaking
    return [event.transcript for event in events if event.type == "turn.end"]


async def manual(client: AsyncCartesia, task: dict[str, Any], pcm: bytes) -> list[str]:
    """The manual-finalize WebSocket; one text for each `flush_done`."""
    texts: list[str] = []
    async with client.stt.manual_finalize.websocket(**connect_options(task)) as connection:
        start = 0
        for size in task["pieces"]:
            async for chunk in chunks(pcm[start : start + size], task):
                await connection.send_raw(chunk)
            start += size
            await connection.send("finalize")
            text = ""
            async for event in connection:
                if event.type == "transcript":
                    text += event.text
                elif event.type == "flush_done":
                    break
            texts.append(text)
        await connection.send("close")
        kinds = [event.type async for event in connection]
        assert kinds[-1] == "done", kinds
    return texts


async def batch(client: AsyncCartesia, task: dict[str, Any], file: bytes) -> dict[str, Any]:
    """`POST /stt` of a WAV file."""
    answer = await client.stt.transcribe(
        file=("call.wav", file), model=task["model"], timestamp_granularities=["word"]
    )
    return dict(answer.to_dict())


async def token(client: AsyncCartesia, _task: dict[str, Any], _pcm: bytes) -> str:
    """An access token, as for a browser."""
    answer = await client.access_token.create(grants={"stt": True}, expires_in=60)
    return str(answer.token)


TASKS = {"turns": turns, "manual": manual, "batch": batch, "token": token}


async def main() -> None:
    """Carry the task out and print its result."""
    task = json.loads(sys.argv[1])
    pcm = sys.stdin.buffer.read()
    async with AsyncCartesia(api_key=KEY, base_url=task["url"]) as client:
        print(json.dumps(await TASKS[task["endpoint"]](client, task, pcm)))


if __name__ == "__main__":
    asyncio.run(main())
