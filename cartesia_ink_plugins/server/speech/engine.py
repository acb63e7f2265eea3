"""The speech engine: real recognition, with no key and no network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.server.engine import Emit, TurnThresholds
from cartesia_ink_plugins.server.speech.ear import SpeechEar
from cartesia_ink_plugins.server.speech.listener import Kind, Listener
from cartesia_ink_plugins.server.speech.onnx import SmartTurn, Voice, onnx_session
from cartesia_ink_plugins.server.speech.recognise import Recogniser
from cartesia_ink_plugins.server.speech.weights import find_weights
from cartesia_ink_plugins.server.speech.whisper import Whisper


class SpeechEngine:
    """Hears speech: Silero VAD, smart-turn and Whisper on the CPU; see `Engine`.

    All connections share the models and two small pools of threads. Decodes of pauses, which a
    reply waits for, and decodes of running speech, which only an interim waits for, do not queue
    behind each other; a connection has at most one of the latter under way, so none starves.
    """

    def __init__(
        self, whisper: str | os.PathLike[str] | None = None, *, threads: int | None = None
    ) -> None:
        """Load the models, which takes about a second.

        Args:
            whisper: A CTranslate2 Whisper folder instead of the packaged tiny.en.
            threads: How many decodes may run at once; by default one for each core, at most 8.
                With 0 everything is recognised inside `hear`: the same audio then gives the same
                events at the same audio positions on any machine, and nothing needs a loop.

        Raises:
            UsageError: The `speech` extra is not installed, or a model is not what it should be.
        """
        weights = find_weights(whisper)
        if threads is None:
            threads = min(8, os.cpu_count() or 1)
        self._silero = onnx_session(weights.silero)
        self._recogniser = Recogniser(
            Whisper(weights.whisper, parallel=max(1, threads)),
            SmartTurn(onnx_session(weights.smart_turn)),
        )
        self._workers: dict[Kind, Executor] | None = None
        if threads:
            self._workers = {
                Kind.PAUSE: ThreadPoolExecutor(threads, "ink-pause"),
                Kind.PARTIAL: ThreadPoolExecutor(max(1, threads // 2), "ink-partial"),
            }

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> SpeechEar:
        """Open an ear for a connection; keyterms are given to Whisper as what came before."""
        listener = Listener(self.voice(), thresholds, context=_context(keyterms))
        return SpeechEar(listener, format, emit, self._recogniser, self._workers)

    def voice(self) -> Voice:
        """A voice detector for one more stream."""
        return Voice(self._silero)

    async def aclose(self) -> None:
        """Stop the threads, when what they are doing is done."""
        workers, self._workers = self._workers, None
        for pool in (workers or {}).values():
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


def _context(keyterms: Sequence[str]) -> str:
    return f" {', '.join(keyterms)}." if keyterms else ""
