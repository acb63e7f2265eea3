"""Recordings that a command is given: any format, from a file or a pipe, damaged or not."""

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
"""Hz. What is slower or faster is resampled: less is no speech, more is no use to Ink."""
_LARGEST_PIPE = 1 << 30
"""Bytes. A pipe is read whole, since decoders seek; this much is 9 hours at 16 kHz."""
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile's number for a length that the file does not say is larger."""
_MISSING_SECONDS = 0.25
"""A file that ends so much too early was cut; decoders miss a frame or two of 26 ms."""


class RecordingError(InkError):
    """A recording turned out to be damaged, or vanished; the message names the file."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be read.

    Attributes:
        path: Where it is; `-` is standard input.
        seconds: How long it is, if it says so.
        sample_rate: Hz at which it is played: its own, or the nearest that is usual.
    """

    path: Path
    seconds: float | None
    sample_rate: int
    _piped: bytes | None = field(default=None, repr=False)

    @property
    def length(self) -> str:
        """How long it is, in words."""
        return "unknown length" if self.seconds is None else f"{self.seconds:.1f} s"

    def frames(self) -> Iterator[bytes]:
        """Its audio, 16-bit mono, about 20 ms at a time.

        Raises:
            RecordingError: It is damaged from here on, or has vanished.
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
    """Make sure that a recording can be read; read it, if it comes through a pipe.

    Raises:
        UsageError: It cannot, or a library is missing; the message names the file.
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
        raise UsageError(f"{path}: is no audio file that can be read") from None
    if not frames:
        raise UsageError(f"{path}: has no audio in it")
    seconds = frames / sample_rate if frames < _UNKNOWN_FRAMES else None
    lowest, highest = _SAMPLE_RATES
    return Recording(path, seconds, min(max(sample_rate, lowest), highest), piped)


def _read_pipe(path: Path) -> bytes | None:
    """What a pipe gives until it ends; None for a file.

    Raises:
        UsageError: It cannot be read, or does not end.
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
    """What the decoder reads: no name, for it would go by that, not by what is in it."""
    if piped is not None:
        yield io.BytesIO(piped)
        return
    with path.open("rb") as file:
        yield file.fileno()


@contextmanager
def _decoder(source: io.BytesIO | int) -> Iterator[SoundFile]:
    import soundfile

    class Forwards(soundfile.SoundFile):  # type: ignore[misc]
        """Is read from its beginning to its end: some codecs cannot seek, and need not."""

        def seekable(self) -> bool:
            return False

    with _silenced():
        file = Forwards(source, closefd=False)
    with file:
        yield file


def _read(file: SoundFile, size: int) -> Samples:
    """The next frames, as many rows; none at the end."""
    if file.format != "MP3":
        return _decode(file, size)
    with _silenced():
        return _decode(file, size)


def _decode(file: SoundFile, size: int) -> Samples:
    samples: Samples = file.read(size, dtype="float32", always_2d=True)
    return samples


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep the MP3 decoder from complaining on standard error, which it cannot be told."""
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
    """What the sound library may raise of a file, whatever is in it."""
    import soundfile

    return (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError)


def _reason(error: Exception) -> str:
    message = str(getattr(error, "error_string", None) or error)
    return " ".join(message.removeprefix("Error : ").split()).rstrip(".")


class _Resampler:
    """Makes 16-bit mono audio of one rate from frames of another."""

    def __init__(self, sample_rate: int, to: int) -> None:
        import soxr

        self._format = AudioFormat(sample_rate=to)
        self._stream: Any = soxr.ResampleStream(sample_rate, to, 1) if sample_rate != to else None

    def feed(self, samples: Samples) -> bytes:
        """Take frames of any number of channels."""
        import numpy as np

        mono = mix_down(np.nan_to_num(samples, posinf=0.0, neginf=0.0))
        return self._format.encode(self._stream.resample_chunk(mono) if self._stream else mono)

    def end(self) -> bytes:
        """What is still inside."""
        import numpy as np

        if self._stream is None:
            return b""
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        return self._format.encode(rest)
