"""A simulated caller, which plays the caller's audio of a recorded call to a bot.

The bot is a Pipecat `PipelineWorker`, or an `AgentSession` with its agent. Its call is recorded and
returned; `call_asserts` has the assertions.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.observe.reader import RecordedCall, read_recording
from cartesia_ink_plugins.observe.recorder import Recorder
from cartesia_ink_plugins.testing.local import LocalInk
from cartesia_ink_plugins.testing.recording import Recording
from cartesia_ink_plugins.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from livekit.agents import Agent, AgentSession
    from pipecat.pipeline.worker import PipelineWorker

_FRAME = 0.02  # seconds of audio, as microphones give it
_WRITING = 30.0  # seconds that a busy machine may take to write a recording
_BEGINNING = 5.0  # seconds after the call until there is something of it
_LOOK = 0.001  # seconds between two looks for it; far less than what a replay takes


class Caller:
    """Calls a bot once; the value of the fixture `ink_caller`."""

    def __init__(self, server: LocalInk, path: Path) -> None:
        """Create a caller; nothing happens before `play`.

        Args:
            server: The server of the bot's STT; its recording is the default of `play`.
            path: The recording of the bot's call, as in `INK_RECORD`.
        """
        self._server = server
        self._path = path

    async def play(
        self,
        bot: PipelineWorker | AgentSession[Any],
        agent: Agent | None = None,
        *,
        recording: Recording | None = None,
        silence: float = 1.0,
        clock: Literal["real", "virtual"] = "real",
    ) -> RecordedCall:
        """Call a bot, play the recording, and hang up.

        Args:
            bot: Not yet running; its STT is connected to `ink_server` and is created while the
                fixture `ink_caller` is active.
            agent: The agent of an `AgentSession`.
            recording: The recording; by default that of `ink_server`.
            silence: Seconds of silence between its end and the end of the call.
            clock: With `virtual`, time jumps to the next event, every replay is the same, and the
                wall clock is that of the call. The whole bot must run in this event loop. While it
                has other connections, such as to a remote LLM, time passes as usual.

        Returns:
            The recording of the bot's call.

        Raises:
            UsageError: There is no recording, or the bot's STT is not of this package, or the event
                loop does not support a virtual clock.
        """
        said = recording or self._server.recording
        if said is None:
            raise UsageError("play: no recording; mark the test with ink_server(Recording(...))")
        async with AsyncExitStack() as stack:
            if clock == "virtual":
                stack.enter_context(_same_chance())
                stack.enter_context(mock.patch.object(Recorder, "patience", _WRITING))
                stack.enter_context(VirtualClock(epoch=said.call.meta.epoch))
                await stack.enter_async_context(self._server.in_this_loop())
            await self._call(bot, agent, said, silence)
        return await asyncio.to_thread(self._read)

    async def _call(
        self,
        bot: PipelineWorker | AgentSession[Any],
        agent: Agent | None,
        said: Recording,
        silence: float,
    ) -> None:
        format = AudioFormat(sample_rate=said.sample_rate)
        parts = said.parts(format)
        end = format.seconds(len(said.audio(format)))
        frames = paced([*parts, (end, format.silence(silence))], format)
        if agent is None:
            from cartesia_ink_plugins.testing.pipecat_caller import call_worker

            await call_worker(bot, frames, format.sample_rate)  # type: ignore[arg-type]
        else:
            from cartesia_ink_plugins.testing.livekit_caller import call_session

            await call_session(bot, agent, frames, format.sample_rate)  # type: ignore[arg-type]

    def _read(self) -> RecordedCall:
        """Return the bot's recording, which is complete soon after the call."""
        began = time.monotonic()
        while not self._path.is_file():
            if time.monotonic() - began > (_WRITING if self._path.exists() else _BEGINNING):
                break
            time.sleep(_LOOK)
        if not self._path.exists():
            raise UsageError(
                "play: the bot has no STT of this package, or one with its own record="
            )
        return read_recording(self._path)


@contextmanager
def _same_chance() -> Iterator[None]:
    """Draw the same random numbers in every replay, such as those of a backoff."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


async def paced(parts: Sequence[tuple[float, bytes]], format: AudioFormat) -> AsyncIterator[bytes]:
    """Split audio into frames and yield each at the time at which it was spoken.

    Args:
        parts: Parts of the audio, each with its start in seconds; nothing is sent between them.
        format: Format of the audio.
    """
    size = format.size(_FRAME)
    began = time.monotonic()
    for start, pcm in parts:
        for place in range(0, len(pcm), size):
            frame = pcm[place : place + size]
            spoken = start + format.seconds(place + len(frame))
            await asyncio.sleep(began + spoken - time.monotonic())
            yield frame
