"""The interface of an engine for the manual and the batch endpoint.

An engine may have neither; the server then answers 404 there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Transcript

ManualEmit: TypeAlias = Callable[[Sequence[Transcript]], None]
"""Sends transcripts in one TCP segment, on the event loop's thread; never blocks or raises."""

DELTA_SIZES = (6, 3, 9, 5)
"""Characters of each delta, in turn. Like the service, it splits words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualRequest:
    """The valid and complete request of a connection to `/stt/websocket`.

    Attributes:
        model: The model.
        format: Format of the audio.
        language: Language of the speech.
        keyterms: Words to expect.
        max_silence: Seconds of silence after which text is sent without `finalize`; None is the
            default of the engine.
    """

    model: str
    format: AudioFormat
    language: str = "en"
    keyterms: tuple[str, ...] = ()
    max_silence: float | None = None

    @property
    def has_word_times(self) -> bool:
        """Whether transcripts have words with times, a duration and a language."""
        return "whisper" in self.model


class ManualRecognitionStream(Protocol):
    """Recognizes the audio of one connection to the manual endpoint."""

    def receive_audio(self, pcm: bytes) -> None:
        """Process audio in the connection's format, of any length; never blocks."""

    async def finalize(self) -> None:
        """Emit the text of all audio received; everything has been emitted on return."""

    def abort(self) -> None:
        """Free everything and emit nothing more: the connection is lost."""


@runtime_checkable
class ManualEngine(Protocol):
    """Opens recognition streams for the manual endpoint."""

    def open_manual(self, request: ManualRequest, emit: ManualEmit) -> ManualRecognitionStream:
        """Open a recognition stream for a connection."""


@runtime_checkable
class BatchEngine(Protocol):
    """Transcribes whole files."""

    async def transcribe(self, format: AudioFormat, pcm: bytes, language: str) -> Transcript:
        """Transcribe a file, with word times."""


def split_into_deltas(text: str, sizes: Sequence[int] = DELTA_SIZES) -> list[str]:
    """Split a text into deltas of these sizes, in turn."""
    pieces: list[str] = []
    while text:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[:size])
        text = text[size:]
    return pieces
