"""Recordings as arguments of a command: any format, from a file or a pipe, also damaged ones."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartesia_ink_plugins.core.audio import AudioFormat, Samples, mix_down
from cartesia_ink_plugins.core.errors import InkError, UsageError

if TYPE_CHECKING:
    from soundfile import SoundFile

STANDARD_INPUT = Path("-")
_FRAME_SECONDS = 0.02
_SAMPLE_RATES = (8_000, 48_000)
"""Hz. Other rates are resampled: lower ones have too little of speech, higher ones no more."""
_LARGEST_PIPE = 1 << 30
"""Bytes. A pipe is read whole, because decoders seek; 9 hours at 16 kHz."""
_UNKNOWN_FRAMES = 1 << 62
"""Frames; libsndfile's value for an unknown length is larger."""
_MISSING_SECONDS = 0.25
"""A file that ends this much early is truncated; decoders may lack two frames of 26 ms."""


class RecordingError(InkError):
    """A recording is damaged or missing; the message names the file."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be read.

    Attributes:
        path: Its path; `-` is standard input.
        seconds: Its length, if known.
        sample_rate: Sample rate of `frames` in Hz, from 8,000 to 48,000.
    """

    path: Path
    seconds: float | None
    sample_rate: int
    _piped: bytes | None = field(default=None, repr=False)

    @property
    def length(self) -> str:
        """The length as text."""
        return "unknown length" if self.seconds is None else f"{self.seconds:.1f} s"

    def frames(self) -> Iterator[bytes]:
        """Yield its audio, 16-bit mono, in pieces of about 20 ms.

        Raises:
            RecordingError: It is damaged or missing.
        """
        read = 0.0
        try:
            with _source(self.path, self._piped) as source, _decoder(source) as file:
                resampler = _Resampler(file.samplerate, self.sample_rate)
                while len(samples := _read(file, max(1, int(file.samplerate * _FRAME_SECONDS)))):
                    read += len(samples) / file.samplerate
                    yield resampler.feed(samples)
                if rest := resampler.end():
                    yield rest
        except _errors() as error:
            if isinstance(error, OSError) and error.strerror:
                raise RecordingError(f"{self.path}: {error.strerror}") from None
            raise RecordingError(
                f"{self.path}: is damaged after {read:.1f} s: {_reason(error)}"
            ) from None
        if self.seconds is not None and read < self.seconds - _MISSING_SECONDS:
            raise RecordingError(f"{self.path}: ends after {read:.1f} of {self.seconds:.1f} s")


def open_recording(path: Path) -> Recording:
    """Check that a recording can be read; read it if it is a pipe.

    Raises:
        UsageError: It cannot be read, or a library is missing; the message names the file.
    """
    try:
        import soundfile  # noqa: F401
    except ImportError:
        raise UsageError("soundfile is missing: pip install soundfile") from None
    piped = _read_pipe(path)
    try:
        with _source(path, piped) as source, _decoder(source) as file:
            frames, sample_rate = file.frames, file.samplerate
    except OSError as error:
        raise _unreadable(path, error) from None
    except _errors():
        raise UsageError(f"{path}: is not a supported audio file") from None
    if not frames:
        raise UsageError(f"{path}: has no audio in it")
    seconds = frames / sample_rate if frames < _UNKNOWN_FRAMES else None
    lowest, highest = _SAMPLE_RATES
    return Recording(path, seconds, min(max(sample_rate, lowest), highest), piped)


def _read_pipe(path: Path) -> bytes | None:
    """Return the content of a pipe; None for a file.

    Raises:
        UsageError: It cannot be read, or is larger than 1 GiB.
    """
    if path == STANDARD_INPUT and sys.stdin is None:
        raise UsageError("-: there is no standard input")
    try:
        if path == STANDARD_INPUT:
            content = sys.stdin.buffer.read(_LARGEST_PIPE + 1)
        elif stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode):
            return None
        else:
            with path.open("rb") as pipe:
                content = pipe.read(_LARGEST_PIPE + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) > _LARGEST_PIPE:
        raise UsageError(f"{path}: gives more than {_LARGEST_PIPE >> 30} GiB")
    return content


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: {error.strerror or error}")


@contextmanager
def _source(path: Path, piped: bytes | None) -> Iterator[io.BytesIO | int]:
    """Open it without its name, as the decoder would trust the suffix instead of the content."""
    if piped is not None:
        yield io.BytesIO(piped)
        return
    with path.open("rb") as file:
        yield file.fileno()


@contextmanager
def _decoder(source: io.BytesIO | int) -> Iterator[SoundFile]:
    import soundfile

    class Forwards(soundfile.SoundFile):  # type: ignore[misc]
        """Is read sequentially, because some codecs cannot seek."""

        def seekable(self) -> bool:
            return False

    with _silenced():
        file = Forwards(source, closefd=False)
    with file:
        yield file


def _read(file: SoundFile, size: int) -> Samples:
    """Return the next frames as rows; none at the end."""
    if file.format != "MP3":
        return _decode(file, size)
    with _silenced():
        return _decode(file, size)


def _decode(file: SoundFile, size: int) -> Samples:
    samples: Samples = file.read(size, dtype="float32", always_2d=True)
    return samples


@contextmanager
def _silenced() -> Iterator[None]:
    """Suppress what the MP3 decoder writes to standard error; it has no option for that."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that the sound library raises for invalid files."""
    import soundfile

    return (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError)


def _reason(error: Exception) -> str:
    message = str(getattr(error, "error_string", None) or error)
    return " ".join(message.removeprefix("Error : ").split()).rstrip(".")


class _Resampler:
    """Converts frames to 16-bit mono audio of another sample rate."""

    def __init__(self, sample_rate: int, to: int) -> None:
        import soxr

        self._format = AudioFormat(sample_rate=to)
        self._stream: Any = soxr.ResampleStream(sample_rate, to, 1) if sample_rate != to else None

    def feed(self, samples: Samples) -> bytes:
        """Convert frames of any number of channels."""
        import numpy as np

        mono = mix_down(np.nan_to_num(samples, posinf=0.0, neginf=0.0))
        return self._format.encode(self._stream.resample_chunk(mono) if self._stream else mono)

    def end(self) -> bytes:
        """Return the rest."""
        import numpy as np

        if self._stream is None:
            return b""
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        return self._format.encode(rest)
