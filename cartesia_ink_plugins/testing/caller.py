"""A simulated caller, who says to a bot what was said in a recorded call.

The bot is a Pipecat `PipelineWorker`, or an `AgentSession` with its agent. What it does is recorded
as any call is, and returned; `call_asserts` has the assertions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.observe.reader import RecordedCall, read_recording
from cartesia_ink_plugins.testing.recording import Recording

if TYPE_CHECKING:
    from livekit.agents import Agent, AgentSession
    from pipecat.pipeline.worker import PipelineWorker

_FRAME = 0.02  # seconds of audio, as microphones give it


class Caller:
    """Calls a bot once, in real time; what the fixture `ink_caller` gives."""

    def __init__(self, recording: Recording | None, path: Path) -> None:
        """Wait for `play`.

        Args:
            recording: What the caller says; None if `play` is told.
            path: Where the bot's own call is recorded, as `INK_RECORD` says.
        """
        self._recording = recording
        self._path = path

    async def play(
        self,
        bot: PipelineWorker | AgentSession[Any],
        agent: Agent | None = None,
        *,
        recording: Recording | None = None,
        silence: float = 1.0,
    ) -> RecordedCall:
        """Call a bot, say everything, and hang up.

        Args:
            bot: Not yet running; its STT talks to `ink_server`, and is made while the fixture
                `ink_caller` is there.
            agent: Of an `AgentSession`.
            recording: What is said; by default what `ink_server` plays.
            silence: Seconds between the last of it and the end of the call.

        Returns:
            What the bot did.

        Raises:
            UsageError: There is nothing to say, or the bot's STT is not one of ours.
        """
        said = recording or self._recording
        if said is None:
            raise UsageError("play: no recording; mark the test with ink_server(Recording(...))")
        format = AudioFormat(sample_rate=said.sample_rate)
        frames = paced(said.audio(format) + format.silence(silence), format)
        if agent is None:
            from cartesia_ink_plugins.testing.pipecat_caller import call_worker

            await call_worker(bot, frames, format.sample_rate)  # type: ignore[arg-type]
        else:
            from cartesia_ink_plugins.testing.livekit_caller import call_session

            await call_session(bot, agent, frames, format.sample_rate)  # type: ignore[arg-type]
        return await asyncio.to_thread(self._read)

    def _read(self) -> RecordedCall:
        """Return the bot's own recording, which is completed soon after the call."""
        deadline = time.monotonic() + 5.0  # seconds
        while not self._path.is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not self._path.exists():
            raise UsageError("play: the bot has no STT of this package, or it is told to record")
        return read_recording(self._path)


async def paced(pcm: bytes, format: AudioFormat) -> AsyncIterator[bytes]:
    """Cut audio into frames, each at the time at which it was spoken."""
    size = format.size(_FRAME)
    began = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), size), start=1):
        await asyncio.sleep(began + number * _FRAME - time.monotonic())
        yield pcm[start : start + size]
