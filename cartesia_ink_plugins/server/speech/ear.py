"""One connection's ear: bytes in, turn events out, recognition on other threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.server.engine import Emit, TurnThresholds
from cartesia_ink_plugins.server.speech.features import SAMPLE_RATE
from cartesia_ink_plugins.server.speech.listener import PARTIAL_EVERY, Listener
from cartesia_ink_plugins.server.speech.onnx import VAD_SAMPLES
from cartesia_ink_plugins.server.speech.recognise import Answer, Asked, Kind, Recognise
from cartesia_ink_plugins.server.speech.weights import INSTALL
from cartesia_ink_plugins.server.speech.workers import Workers

logger = logging.getLogger(__name__)

_BEHIND = 1 * SAMPLE_RATE
# Interims take at most one part of this many of a core's time: on a slow or busy machine a turn is
# decoded less often while it lasts, but often enough that a client, which takes a stream for dead
# that says nothing for five seconds of speech, hears from it.
_REST, _RAREST = 3, 3.0
# The event loop gets its turn after so much audio, which takes about 10 ms.
_AT_ONCE = 2 * SAMPLE_RATE // VAD_SAMPLES
# What Whisper and the VAD get after the last byte, so that the last word is not at the edge.
_TAIL_SECONDS = 0.1


class Resampler:
    """Turns a stream of bytes, cut anywhere, into 16 kHz samples."""

    __slots__ = ("_format", "_rest", "_stream")

    def __init__(self, format: AudioFormat) -> None:
        """Begin a stream.

        Raises:
            UsageError: soxr is not installed and the rate is another than 16 kHz.
        """
        self._format = format
        self._rest = b""
        self._stream: Any = None
        if format.sample_rate != SAMPLE_RATE:
            try:
                import soxr
            except ImportError:
                raise UsageError(f"speech engine: soxr is not installed; {INSTALL}") from None
            self._stream = soxr.ResampleStream(format.sample_rate, SAMPLE_RATE, 1, "float32")

    def __call__(self, pcm: bytes, *, last: bool = False) -> Samples:
        """The next samples; a few milliseconds wait for what follows, unless this is the last."""
        data = self._rest + pcm
        whole = len(data) - len(data) % self._format.sample_width
        self._rest = data[whole:]
        samples = np.clip(self._format.decode(data[:whole]), -1.0, 1.0)
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples, last=last)
        return resampled


class SpeechEar:
    """Hears one connection; see `RecognitionStream`."""

    def __init__(
        self,
        listener: Listener,
        format: AudioFormat,
        emit: Emit,
        recognise: Recognise,
        workers: Workers | None,
    ) -> None:
        """Begin to hear.

        Args:
            listener: Makes turns of the audio.
            format: Of the audio.
            emit: Where events go.
            recognise: Answers requests.
            workers: Where that is done; None for here and now.

        Raises:
            UsageError: The audio cannot be resampled here.
        """
        self._listener = listener
        self._resampler = Resampler(format)
        self._emit = emit
        self._recognise = recognise
        self._workers = workers
        self._loop = asyncio.get_running_loop() if workers else None
        self._samples = np.empty(0, np.float32)
        self._jobs: dict[Asked, Future[Answer | None]] = {}
        self._pumping = False
        self._aborted = False
        self._closing = False
        self._closed = asyncio.Event()

    @property
    def backlog(self) -> float:
        """Seconds of audio that were taken and not heard yet."""
        return len(self._samples) / SAMPLE_RATE

    def receive_audio(self, pcm: bytes) -> None:
        """Take the next audio bytes."""
        if self._closing or self._aborted:
            return
        self._samples = np.concatenate((self._samples, self._resampler(pcm)))
        self._pump()

    def configure(self, settings: TurnThresholds) -> None:
        """Go on with other thresholds."""
        self._listener.thresholds = settings

    async def close(self) -> None:
        """End an open turn; everything is emitted on return."""
        if self._aborted or self._closing:
            return
        self._closing = True
        tail = np.zeros(round(_TAIL_SECONDS * SAMPLE_RATE) + VAD_SAMPLES, np.float32)
        rest = self._resampler(b"", last=True)
        whole = len(self._samples) + len(rest) + len(tail)
        self._samples = np.concatenate((self._samples, rest, tail))[: whole - whole % VAD_SAMPLES]
        self._pump()
        await self._closed.wait()

    def abort(self) -> None:
        """Free everything, emit nothing more."""
        self._aborted = True
        self._samples = self._samples[:0]
        for job in self._jobs.values():
            job.cancel()
        self._closed.set()

    def _pump(self) -> None:
        """Give the listener what it will take."""
        if self._pumping or self._aborted:
            return
        self._pumping = True
        steps = 0
        try:
            while self._step():
                steps += 1
                if self._loop and steps == _AT_ONCE:
                    self._loop.call_soon(self._pump)
                    return
        finally:
            self._pumping = False

    def _step(self) -> bool:
        """Go one step on; False when there is nothing to do now."""
        listener = self._listener
        if listener.waiting:
            return False
        if len(self._samples) >= VAD_SAMPLES:
            listener.hurried = len(self._samples) > _BEHIND and self._workers is not None
            samples, self._samples = self._samples[:VAD_SAMPLES], self._samples[VAD_SAMPLES:]
            self._say(listener.hear(samples))
            return True
        if not self._closing:
            return False
        if not listener.idle:
            self._say(listener.finish())
        if listener.idle:
            self._closed.set()
        return False

    def _say(self, events: Sequence[TurnEvent]) -> None:
        if events and not self._aborted:
            self._emit(events)
        while self._listener.wanted and not self._aborted:
            self._have_recognised(self._listener.wanted.pop(0))

    def _have_recognised(self, asked: Asked) -> None:
        if self._workers is None or self._loop is None:
            answer = self._recognise(asked.request, partial(self._listener.awaits, asked))
            if answer:
                self._say(self._listener.answer(asked, answer))
            return
        loop, began = self._loop, monotonic()
        job = self._workers.submit(asked.kind, partial(self._recognise_if_needed, asked))
        self._jobs[asked] = job

        def done(job: Future[Answer | None]) -> None:
            # The loop may be closed by now, and then nobody waits for this.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._answered, asked, job, monotonic() - began)

        job.add_done_callback(done)

    def _recognise_if_needed(self, asked: Asked) -> Answer | None:
        """On a busy machine speech may have gone on, or paused, before a thread was free."""
        if not self._listener.needs(asked):
            return None
        return self._recognise(asked.request, partial(self._listener.awaits, asked))

    def _answered(self, asked: Asked, job: Future[Answer | None], seconds: float) -> None:
        self._jobs.pop(asked, None)
        if asked.kind is Kind.PARTIAL:
            self._listener.partial_every = min(_RAREST, max(PARTIAL_EVERY, _REST * seconds))
        if self._aborted:
            return
        if answer := _answer(job):
            self._say(self._listener.answer(asked, answer))
        else:
            self._listener.drop(asked)
        self._pump()


def _answer(job: Future[Answer | None]) -> Answer | None:
    """What came of a job; one that was dropped or failed costs words, not the turn."""
    if job.cancelled():
        return Answer("")
    if error := job.exception():
        logger.error("recognition failed", exc_info=error)
        return Answer("")
    return job.result()
