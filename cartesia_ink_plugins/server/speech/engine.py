"""The speech engine: real recognition, with no key and no network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Transcript
from cartesia_ink_plugins.server.engine import Emit, TurnThresholds
from cartesia_ink_plugins.server.manual_engine import (
    ManualEmit,
    ManualRecognitionStream,
    ManualRequest,
)
from cartesia_ink_plugins.server.speech.ear import SpeechEar
from cartesia_ink_plugins.server.speech.features import SAMPLE_RATE, LogMel
from cartesia_ink_plugins.server.speech.files import FileRecogniser
from cartesia_ink_plugins.server.speech.listener import Listener
from cartesia_ink_plugins.server.speech.manual import SpeechManualEar, WhisperManualEar
from cartesia_ink_plugins.server.speech.onnx import (
    SMART_TURN_FRAMES,
    SmartTurn,
    Voice,
    onnx_session,
)
from cartesia_ink_plugins.server.speech.recognise import Recogniser, Request
from cartesia_ink_plugins.server.speech.weights import find_weights
from cartesia_ink_plugins.server.speech.whisper import WINDOW_FRAMES, Whisper
from cartesia_ink_plugins.server.speech.workers import Workers


class SpeechEngine:
    """Hears speech: Silero VAD, smart-turn and Whisper on the CPU; see `Engine`.

    All connections share the models and two small pools of threads. Decodes of pauses, which a
    reply waits for, go before decodes of running speech, which only an interim waits for; a
    connection has at most one of either under way, so none starves another.
    """

    def __init__(
        self, whisper: str | os.PathLike[str] | None = None, *, threads: int | None = None
    ) -> None:
        """Load the models and use each once, which takes about a second.

        Args:
            whisper: A CTranslate2 Whisper folder instead of the packaged tiny.en.
            threads: How many decodes may run at once; by default one for each core, at most 8.
                With 0 everything is recognised inside `receive_audio`: the same audio then gives
                the same events at the same audio positions on any machine, and nothing needs
                a loop.

        Raises:
            UsageError: The `speech` extra is not installed, or a model is not what it should be.
        """
        weights = find_weights(whisper)
        if threads is None:
            threads = min(8, os.cpu_count() or 1)
        self._silero = onnx_session(weights.silero)
        model = Whisper(weights.whisper, parallel=max(1, threads))
        self._workers = Workers(threads) if threads else None
        self._recogniser = Recogniser(
            model,
            SmartTurn(onnx_session(weights.smart_turn)),
            helpers=self._workers.helpers if self._workers else None,
        )
        self._files = FileRecogniser(model)
        self._closed = False
        self._warm_up(max(1, threads))

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> SpeechEar:
        """Open an ear for a connection; keyterms are given to Whisper as what came before.

        Raises:
            UsageError: The engine is closed, or the audio cannot be resampled here.
        """
        if self._closed:
            raise UsageError("speech engine: it is closed")
        listener = Listener(self.voice(), thresholds, context=_context(keyterms))
        return SpeechEar(listener, format, emit, self._recogniser, self._workers)

    def open_manual(self, request: ManualRequest, emit: ManualEmit) -> ManualRecognitionStream:
        """Open an ear that is told when speech is over."""
        thresholds = TurnThresholds()
        if request.max_silence is not None:
            thresholds = TurnThresholds(timeout_ms=round(1000 * request.max_silence))

        def open_ear(emit: Emit) -> SpeechEar:
            return self.open(request.format, thresholds, emit, keyterms=request.keyterms)

        async def write_down(pcm: bytes) -> Transcript:
            return await self.transcribe(request.format, pcm, request.language)

        if request.has_word_times:
            return WhisperManualEar(request, open_ear, write_down, emit)
        return SpeechManualEar(open_ear, emit)

    async def transcribe(self, format: AudioFormat, pcm: bytes, language: str) -> Transcript:
        """Write down a whole file."""
        return await asyncio.to_thread(self._files, self.voice(), format, pcm, language)

    def voice(self) -> Voice:
        """A voice detector for one more stream."""
        return Voice(self._silero)

    def _warm_up(self, parallel: int) -> None:
        """Have every copy of the models do what is slow only once, before somebody speaks."""
        mel = LogMel()
        mel.append(np.random.default_rng(0).normal(0.0, 0.1, SAMPLE_RATE).astype(np.float32))
        request = Request(
            features=mel.whisper(0, len(mel), WINDOW_FRAMES),
            frames=len(mel),
            voiced=1.0,
            melody=mel.smart_turn(0, len(mel), SMART_TURN_FRAMES),
        )
        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(self._recogniser, [request] * parallel))

    async def aclose(self) -> None:
        """Stop the threads, when what they are doing is done."""
        self._closed = True
        if self._workers:
            await asyncio.to_thread(self._workers.shutdown)


def _context(keyterms: Sequence[str]) -> str:
    return f" {', '.join(keyterms)}." if keyterms else ""
