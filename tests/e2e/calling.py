"""Call a bot in the browser's place: WebRTC through aiortc, with the demo's recorded caller."""

from __future__ import annotations

import asyncio
import fractions
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)

from cartesia_ink_plugins.demo.caller import SAMPLE_RATE, Caller, Line
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE, Telephone


class Microphone(MediaStreamTrack):
    """What the caller says, as the browser would send it."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._samples = 0

    async def deliver(self, pcm: bytes) -> None:
        self._frames.put_nowait(pcm)

    async def recv(self) -> av.AudioFrame:
        pcm = await self._frames.get()
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        frame.pts = self._samples
        self._samples += frame.samples
        return frame


@dataclass
class WebCall:
    """A connected call.

    Attributes:
        telephone: Where both voices meet.
        messages: What the bot told on the data channel.
        channel: The data channel.
    """

    telephone: Telephone
    microphone: Microphone
    messages: list[dict[str, Any]] = field(default_factory=list)
    channel: RTCDataChannel | None = None

    def send(self, kind: str, data: object) -> None:
        """Tell the bot something, as the page does."""
        assert self.channel is not None
        message = {"label": "rtvi-ai", "type": kind, "id": "1", "data": data}
        self.channel.send(json.dumps(message))

    async def hold(self) -> None:
        """Play the caller until he hangs up."""
        await self.telephone.run(self.microphone.deliver)

    def texts(self, kind: str) -> list[str]:
        """The texts of the messages of one kind."""
        return [m["data"]["text"] for m in self.messages if m.get("type") == kind]


@asynccontextmanager
async def web_call(
    url: str, lines: Sequence[Line], audio: Sequence[bytes] | None = None
) -> AsyncIterator[WebCall]:
    """Connect to a bot of Pipecat's runner.

    Args:
        url: Where the runner listens.
        lines: What the caller is to say.
        audio: The recordings of the lines, if not the demo's.
    """
    call = WebCall(Telephone(Caller(lines, audio=audio), longest=60.0), Microphone())
    # No STUN: everything is on this machine.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTrack(call.microphone)
    channel = call.channel = connection.createDataChannel("chat")
    listening: list[asyncio.Task[None]] = []

    def receive(data: str) -> None:
        message = json.loads(data)
        call.messages.append(message)

    def be_ready() -> None:
        ready = {"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": {"version": "1.0"}}
        channel.send(json.dumps(ready))

    def hear(track: MediaStreamTrack) -> None:
        listening.append(asyncio.create_task(_listen(track, call.telephone)))

    channel.on("message", receive)
    channel.on("open", be_ready)
    connection.on("track", hear)
    try:
        await _connect(connection, url)
        yield call
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        await connection.close()


async def _connect(connection: RTCPeerConnection, url: str) -> None:
    await connection.setLocalDescription(await connection.createOffer())
    local = connection.localDescription
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/api/offer", json={"sdp": local.sdp, "type": local.type}) as answer,
    ):
        answer.raise_for_status()
        fields = await answer.json()
    remote = RTCSessionDescription(sdp=fields["sdp"], type=fields["type"])
    await connection.setRemoteDescription(remote)


async def _listen(track: MediaStreamTrack, telephone: Telephone) -> None:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=BOT_SAMPLE_RATE)
    while True:
        frame = await track.recv()
        assert isinstance(frame, av.AudioFrame)
        for piece in resampler.resample(frame):
            telephone.loudspeaker.write(bytes(piece.planes[0])[: piece.samples * 2])
