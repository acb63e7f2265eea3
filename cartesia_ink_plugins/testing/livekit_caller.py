"""Calls a LiveKit agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io


async def call_session(
    session: AgentSession[Any], agent: Agent, frames: AsyncIterator[bytes], rate: int
) -> None:
    """Start a session, send it audio at a sample rate in Hz, and close it."""
    microphone = _Microphone()
    session.input.audio = microphone
    session.output.audio = _Speaker()
    await session.start(agent)
    try:
        async for pcm in frames:
            microphone.frames.put_nowait(rtc.AudioFrame(pcm, rate, 1, len(pcm) // 2))
    finally:
        await session.aclose()


class _Microphone(io.AudioInput):
    """The caller's audio as the input of a session."""

    def __init__(self) -> None:
        super().__init__(label="caller")
        self.frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self.frames.get()


class _Speaker(io.AudioOutput):
    """Plays the agent's audio in real time, without a device."""

    def __init__(self) -> None:
        super().__init__(
            label="caller", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=None
        )
        self._began = self._seconds = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._seconds:
            self._began = time.time()
            self.on_playback_started(created_at=self._began)
        self._seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._seconds:
            rest = max(0.0, self._began + self._seconds - time.time())
            self._end = asyncio.get_running_loop().call_later(rest, self._finish, False)

    def clear_buffer(self) -> None:
        if self._seconds:
            self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        if self._end is not None:
            self._end.cancel()
        played = min(self._seconds, time.time() - self._began)
        self._end, self._seconds = None, 0.0
        self.on_playback_finished(playback_position=played, interrupted=interrupted)
