"""Callers of the local server; one of the raw protocol has no resilience, so every fault shows."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnEnd, TurnsOptions
from cartesia_ink_plugins.server.script import Script

KEY = {"X-API-Key": "key-123"}
# What would wait for ever is told from a machine that is busy.
PATIENCE = 30.0
NEEDED = {"model": "ink-2", "encoding": "pcm_s16le", "sample_rate": "16000"}


def address(base_url: str, **query: str) -> str:
    base = base_url.replace("http", "ws", 1)
    return f"{base}/stt/turns/websocket?{urlencode({**NEEDED, **query})}"


def call(base_url: str, origin: str | None = None, **query: str) -> connect:
    return connect(
        address(base_url, **query),
        additional_headers=KEY | ({} if origin is None else {"Origin": origin}),
        ping_interval=None,
        close_timeout=1,
        max_size=None,
    )


async def heard_with(base_url: str, credentials: Credentials, script: Script) -> list[str]:
    """What our own client hears of a script with these credentials, turn by turn."""
    async with InkTurnsClient(TurnsOptions(base_url=base_url), credentials) as client:
        client.send_audio(script.audio())
        await client.finish()
        return [event.transcript async for event in client if isinstance(event, TurnEnd)]


async def hear_all(websocket: ClientConnection, seconds: float = PATIENCE) -> list[Any]:
    """All messages until the connection is closed; as JSON where they are JSON."""
    messages: list[Any] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                messages.append(read(await websocket.recv()))
    except ConnectionClosed:
        return messages


def read(message: str | bytes) -> Any:
    try:
        return json.loads(message)
    except ValueError:
        return message


def kinds(messages: list[Any]) -> list[Any]:
    return [m["type"] if isinstance(m, dict) and "type" in m else m for m in messages]


async def say(websocket: ClientConnection, pcm: bytes, chunk: int = 3200) -> None:
    """Send audio as fast as it goes; stop quietly when the connection ends."""
    try:
        for start in range(0, len(pcm), chunk):
            await websocket.send(pcm[start : start + chunk])
    except ConnectionClosed:
        pass
