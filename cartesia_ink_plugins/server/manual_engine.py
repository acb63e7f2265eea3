"""What an engine needs beside turns: an ear that is told when speech is over, and whole files.

An engine may have neither; then the server answers that it does not have the endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Transcript

ManualEmit: TypeAlias = Callable[[Sequence[Transcript]], None]
"""One call is one TCP segment. Called on the event loop's thread; never blocks, never raises."""

# Where text is broken into deltas: as the service does, without regard for words.
DELTA_SIZES = (6, 3, 9, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualRequest:
    """What a connection to `/stt/websocket` asks for, checked and complete.

    Attributes:
        model: The model.
        format: The audio that will come.
        language: Of the speech.
        keyterms: Words to expect.
        max_silence: Seconds of silence after which text is given without `finalize`; None leaves
            it to the engine.
    """

    model: str
    format: AudioFormat
    language: str = "en"
    keyterms: tuple[str, ...] = ()
    max_silence: float | None = None

    @property
    def has_words(self) -> bool:
        """Whether the model gives words with times, a duration and a language."""
        return "whisper" in self.model


class ManualEar(Protocol):
    """Hears one connection."""

    def hear(self, pcm: bytes) -> None:
        """Take the next audio bytes, in the connection's format; any length, never blocks."""

    async def finalize(self) -> None:
        """Say all words heard so far; all is emitted on return."""

    def abort(self) -> None:
        """Free everything and emit nothing more: the connection is gone."""


@runtime_checkable
class ManualEngine(Protocol):
    """Hears connections that say themselves when speech is over."""

    def open_manual(self, request: ManualRequest, emit: ManualEmit) -> ManualEar:
        """Open an ear for a connection."""


@runtime_checkable
class BatchEngine(Protocol):
    """Hears whole files."""

    async def transcribe(self, format: AudioFormat, pcm: bytes, language: str) -> Transcript:
        """Write down a file, with words and times."""


def broken(text: str, sizes: Sequence[int] = DELTA_SIZES) -> list[str]:
    """Break a text into deltas of these sizes, in turn."""
    pieces: list[str] = []
    while text:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[:size])
        text = text[size:]
    return pieces
