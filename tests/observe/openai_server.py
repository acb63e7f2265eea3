"""A server that speaks OpenAI's API of chat completions, and tells its usage at some point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from aiohttp import web

Tells: TypeAlias = Literal["each chunk", "last chunk"]


@dataclass
class OpenAIServer:
    """What was asked, and what it cost.

    Attributes:
        tells: Where in a reply the usage is.
        never_ends: The text of a user whose reply has a first chunk only.
        url: Of the API.
        usage: Text of the user, tokens read and tokens written of each request.
        replied: How many replies are complete.
    """

    tells: Tells
    never_ends: str
    url: str = ""
    usage: list[tuple[str, int, int]] = field(default_factory=list)
    replied: int = 0
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, as a stream of events."""
        messages = (await request.json())["messages"]
        texts = [text_of(message) for message in messages]
        text = next(t for t, m in zip(texts[::-1], messages[::-1], strict=True) if is_user(m))
        read, written = 1000 + sum(map(len, texts)) // 4, 10 + len(self.usage)
        self.usage.append((text, read, written))
        usage = {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(delta: dict[str, str] | None, *, told: bool) -> None:
            choices = [] if delta is None else [{"index": 0, "delta": delta}]
            head = {"id": "reply", "object": "chat.completion.chunk", "created": 0, "model": "any"}
            chunk = {**head, "choices": choices, "usage": usage if told else None}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

        told = self.tells == "each chunk"
        await send({"role": "assistant", "content": f"You said: {text}. "}, told=told)
        if text == self.never_ends:
            await self._closing.wait()
            return response
        await send({"content": "Is that so?"}, told=told)
        await send(None, told=True)
        await response.write(b"data: [DONE]\n\n")
        self.replied += 1
        return response

    def close(self) -> None:
        """End the reply that never ends."""
        self._closing.set()


def is_user(message: dict[str, Any]) -> bool:
    return bool(message["role"] == "user")


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, which may be in parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@asynccontextmanager
async def openai_server(tells: Tells, never_ends: str) -> AsyncIterator[OpenAIServer]:
    """Serve at a free port of this machine."""
    server = OpenAIServer(tells, never_ends)
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", server.complete)])
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        server.close()
        await runner.cleanup()
