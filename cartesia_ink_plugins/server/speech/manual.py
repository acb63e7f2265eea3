"""The speech engine without turns: words are said while they come, or when they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from cartesia_ink_plugins.core.events import (
    Transcript,
    TurnEagerEnd,
    TurnEnd,
    TurnStart,
    TurnUpdate,
    Word,
)
from cartesia_ink_plugins.server.engine import Emit, Outgoing
from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest, split_into_deltas
from cartesia_ink_plugins.server.speech.ear import SpeechEar

OpenEar = Callable[[Emit], SpeechEar]
WriteDown = Callable[[bytes], Awaitable[Transcript]]


class SpeechManualEar:
    """Hears one connection like ink-2: deltas while somebody speaks.

    Inside is an ear for turns: what it is certain of is said, and `finalize` ends its turn.
    """

    def __init__(self, open_ear: OpenEar, emit: ManualEmit) -> None:
        """Begin to hear.

        Args:
            open_ear: Opens an ear for turns.
            emit: Where transcripts go.
        """
        self._open_ear = open_ear
        self._emit = emit
        self._said = ""
        self._spoken = False
        self._ear = open_ear(self._take)

    def receive_audio(self, pcm: bytes) -> None:
        """Take the next audio bytes."""
        self._ear.receive_audio(pcm)

    async def finalize(self) -> None:
        """Say everything heard so far; what comes meanwhile is heard by a fresh ear."""
        ear, self._ear = self._ear, self._open_ear(self._take)
        await ear.close()
        self._said = ""

    def abort(self) -> None:
        """Free everything, emit nothing more."""
        self._ear.abort()

    def _take(self, events: Sequence[Outgoing]) -> None:
        for event in events:
            match event:
                case TurnStart():
                    self._said = ""
                case TurnUpdate() | TurnEagerEnd() | TurnEnd():
                    self._tell(event.transcript[len(self._said) :])
                    self._said = event.transcript

    def _tell(self, text: str) -> None:
        if not text:
            return
        if self._spoken and not self._said and not text[0].isspace():
            # The first words of a fresh ear, but not of the connection.
            text = f" {text}"
        self._spoken = True
        self._emit([Transcript(piece) for piece in split_into_deltas(text)])


class WhisperManualEar:
    """Hears one connection like whisper: everything at once, with times, after a pause."""

    def __init__(
        self, request: ManualRequest, open_ear: OpenEar, write_down: WriteDown, emit: ManualEmit
    ) -> None:
        """Begin to hear.

        Args:
            request: What the connection asks for.
            open_ear: Opens an ear for turns, which tells when there is a pause.
            write_down: Writes down what was said, with times.
            emit: Where transcripts go.
        """
        self._format = request.format
        self._write_down = write_down
        self._emit: ManualEmit | None = emit
        self._ear = open_ear(self._take)
        self._gathered = bytearray()
        self._position = 0.0
        self._spoken = False
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def receive_audio(self, pcm: bytes) -> None:
        """Take the next audio bytes."""
        self._gathered += pcm
        self._ear.receive_audio(pcm)

    async def finalize(self) -> None:
        """Say everything heard so far."""
        pcm, self._gathered = bytes(self._gathered), bytearray()
        async with self._lock:
            if pcm:
                await self._tell(pcm)

    def abort(self) -> None:
        """Free everything, emit nothing more."""
        self._emit = None
        self._ear.abort()
        for task in self._tasks:
            task.cancel()

    def _take(self, events: Sequence[Outgoing]) -> None:
        if any(isinstance(event, TurnEnd) and event.transcript for event in events):
            task = asyncio.create_task(self.finalize())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, pcm: bytes) -> None:
        said = await self._write_down(pcm)
        begin, self._position = self._position, self._position + self._format.seconds(len(pcm))
        if self._emit is None or not said.text:
            return
        space = " " if self._spoken else ""
        words = [
            Word(word.word, round(begin + word.start, 3), round(begin + word.end, 3))
            for word in said.words
        ]
        if words:
            words[0] = Word(space + words[0].word, words[0].start, words[0].end)
        self._spoken = True
        text = space + said.text
        self._emit(
            [Transcript(text, duration=said.duration, language=said.language, words=tuple(words))]
        )
