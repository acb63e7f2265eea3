"""What a `finalize` costs over the bare socket, and push-to-talk in LiveKit.

The time from `finalize` to the final text is taken with our client and with a bare socket, in
turns; and, if livekit-agents and its Cartesia plugin are installed, how long commit_user_turn()
takes with our STT and with the built-in one. The local server answers at once, so that what is
measured is the client and the framework alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.options import ManualOptions

_KEY = "any"
_ADDED_TARGET_SECONDS = 0.005
_COMMIT_TARGET_SECONDS = 0.1
_FRAME_SECONDS = 0.02
_SENTENCE = "A table for two, please."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        The exit status: 1 when a target is missed.
    """
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="of each side")
    args = parser.parse_args(arguments)
    if args.rounds < 1:
        parser.error("--rounds must be positive")
    bare, ours = asyncio.run(_finalize(args.rounds))
    added = statistics.median(ours) - statistics.median(bare)
    print(f"finalize to final text, {args.rounds} rounds, ms   p50     p95")
    for name, times in (("bare socket", bare), ("InkManualClient", ours)):
        print(f"  {name:<38}{_ms(statistics.median(times))}{_ms(_p95(times))}")
    print(f"  {'added by us (target 5.0)':<38}{_ms(added)}")
    met = added <= _ADDED_TARGET_SECONDS
    try:
        commits = asyncio.run(_commits())
    except ImportError:
        print("\npush-to-talk: livekit-agents or livekit-plugins-cartesia is not installed")
        return 0 if met else 1
    print("\ncommit_user_turn() in push-to-talk, LiveKit, ms")
    for name, seconds in commits.items():
        print(f"  {name:<38}{_ms(seconds)}")
    return 0 if met and commits["ink.STT(endpoint='manual')"] <= _COMMIT_TARGET_SECONDS else 1


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:8.2f}"


def _p95(times: list[float]) -> float:
    return sorted(times)[int(0.95 * (len(times) - 1))]


async def _finalize(rounds: int) -> tuple[list[float], list[float]]:
    """Times of the bare socket and of our client, taken in turns on one server."""
    from cartesia_ink_plugins.server.app import InkServer
    from cartesia_ink_plugins.server.rules import Rules
    from cartesia_ink_plugins.server.script import Script

    script = Script(_SENTENCE)
    pcm = script.audio()[: AudioFormat().size(script.spans[0][1] + 0.05)]
    bare: list[float] = []
    ours: list[float] = []
    async with (
        InkServer(script, rules=Rules(overload_seconds=None)) as server,
        _Bare(server.url) as socket,
        InkManualClient(ManualOptions(base_url=server.url), Credentials(api_key=_KEY)) as client,
    ):
        for _ in range(rounds):
            bare.append(await _timed(socket.send, socket.finalize, pcm))
            ours.append(await _timed(client.send_audio, _client_finalize(client), pcm))
    return bare, ours


def _client_finalize(client: InkManualClient) -> Callable[[], Awaitable[str]]:
    async def finalize() -> str:
        return (await client.finalize()).text

    return finalize


async def _timed(
    send: Callable[[bytes], object], finalize: Callable[[], Awaitable[str]], pcm: bytes
) -> float:
    """Send a sentence much as it is spoken, only faster, and time its `finalize`."""
    size = AudioFormat().size(_FRAME_SECONDS)
    for at in range(0, len(pcm), size):
        sent = send(pcm[at : at + size])
        if isinstance(sent, Awaitable):
            await sent
        await asyncio.sleep(_FRAME_SECONDS / 2)
    began = time.perf_counter()
    text = await finalize()
    took = time.perf_counter() - began
    assert text.strip() == _SENTENCE, text
    return took


class _Bare:
    """The least that can be said over a WebSocket."""

    def __init__(self, base_url: str) -> None:
        """Prepare."""
        self._url = (
            f"ws://{urlsplit(base_url).netloc}/stt/websocket"
            "?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
        )
        self._socket: Any = None

    async def __aenter__(self) -> _Bare:
        """Connect."""
        from websockets.asyncio.client import connect

        headers = {"X-API-Key": _KEY, "Cartesia-Version": "2026-03-01"}
        self._socket = await connect(self._url, additional_headers=headers, compression=None)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close."""
        await self._socket.close()

    async def send(self, pcm: bytes) -> None:
        """Send audio."""
        await self._socket.send(pcm)

    async def finalize(self) -> str:
        """Say `finalize`, and join what comes up to `flush_done`."""
        await self._socket.send("finalize")
        text = ""
        while True:
            message = json.loads(await self._socket.recv())
            if message["type"] == "flush_done":
                return text
            text += message["text"]


async def _commits() -> dict[str, float]:
    """How long `commit_user_turn()` takes with each STT."""
    import aiohttp
    from livekit.plugins import cartesia

    from cartesia_ink_plugins import livekit as ink
    from cartesia_ink_plugins.server.app import InkServer
    from cartesia_ink_plugins.server.script import Script

    script = Script(_SENTENCE)
    async with InkServer(script) as server, aiohttp.ClientSession() as http:
        common: dict[str, Any] = {"api_key": _KEY, "base_url": server.url}
        return {
            "ink.STT(endpoint='manual')": await _commit(
                ink.STT(endpoint="manual", **common), script.audio(AudioFormat(sample_rate=24_000))
            ),
            "livekit.plugins.cartesia.STT": await _commit(
                cartesia.STT(http_session=http, **common),
                script.audio(AudioFormat(sample_rate=24_000)),
            ),
        }


async def _commit(recogniser: Any, pcm: bytes) -> float:
    """Hold the button, speak, let go: seconds until the turn is committed."""
    from livekit import rtc
    from livekit.agents import Agent, AgentSession
    from livekit.agents.voice import io

    rate = 24_000
    frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    class Microphone(io.AudioInput):
        """Gives the session what is spoken."""

        async def __anext__(self) -> rtc.AudioFrame:
            return await frames.get()

    session: AgentSession[None] = AgentSession(
        stt=recogniser, vad=None, turn_handling={"turn_detection": "manual"}
    )
    session.input.audio = Microphone(label="bench")
    await session.start(Agent(instructions=""))
    try:
        size = AudioFormat(sample_rate=rate).size(_FRAME_SECONDS)
        end = len(pcm) - AudioFormat(sample_rate=rate).size(1.0)
        for at in range(0, end, size):
            piece = pcm[at : at + size]
            frames.put_nowait(rtc.AudioFrame(piece, rate, 1, len(piece) // 2))
            await asyncio.sleep(_FRAME_SECONDS)
        began = time.perf_counter()
        words = await session.commit_user_turn(skip_reply=True)
        took = time.perf_counter() - began
        assert words.strip() == _SENTENCE, words
        return took
    finally:
        await session.aclose()
        await recogniser.aclose()


if __name__ == "__main__":
    sys.exit(main())
