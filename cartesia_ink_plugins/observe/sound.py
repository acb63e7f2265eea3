"""The sound of a call in one file: channel 1 the caller, channel 2 the bot.

Second `s` of the file is second `s` of the call. Sound is put where its time is; the file grows
behind it, so that it can be read at any time.
"""

from __future__ import annotations

import importlib.util
import logging
import struct
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from cartesia_ink_plugins.core.log import LOGGER_NAME

logger = logging.getLogger(LOGGER_NAME)

Pcm = npt.NDArray[np.int16]

CHANNELS = 2
# Seconds by which sound may come later than expected until that is a pause in it: jitter is less.
JITTER = 0.2
# Seconds that the file stays behind the call, because sound is told of a little after its time.
_BEHIND = 0.4
# Seconds of sound ahead of the call that are kept in memory: a voice is made faster than spoken.
_AHEAD = 60.0


class Track:
    """One channel: sound by its time, from where the file ends."""

    def __init__(self, sample_rate: int) -> None:
        """Begin with silence; the rate is that of the file, in Hz."""
        self._rate = sample_rate
        self._written = 0
        self._pieces: list[tuple[int, Pcm]] = []
        self.end = 0

    def add(self, samples: Pcm, at: float) -> None:
        """Add sound that began at a time; what follows the last closely is put right behind it."""
        first = round(at * self._rate)
        if first - self.end < JITTER * self._rate:
            first = self.end
        self._pieces.append((first, samples))
        self.end = first + len(samples)

    def cut(self, at: float) -> None:
        """Leave out what would be heard after a time."""
        end = max(round(at * self._rate), self._written)
        self._pieces = [
            (first, samples[: end - first]) for first, samples in self._pieces if first < end
        ]
        self.end = min(self.end, end)

    def take(self, until: int) -> Pcm:
        """Return what comes next in the file, up to a sample."""
        start, self._written = self._written, until
        taken = np.zeros(until - start, np.int16)
        while self._pieces and self._pieces[0][0] < until:
            first, samples = self._pieces.pop(0)
            fits = min(len(samples), until - first)
            taken[first - start : first - start + fits] = samples[:fits]
            if fits < len(samples):
                self._pieces.insert(0, (until, samples[fits:]))
        self.end = max(self.end, until)
        return taken


class SoundWriter(Protocol):
    """Writes the samples of a file."""

    name: str

    def write(self, frames: Pcm) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class FlacWriter:
    """Writes FLAC; what was written can be read without `close`."""

    name = "heard.flac"

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Create the file."""
        import soundfile

        self._file: Any = soundfile.SoundFile(
            path,
            "w",
            sample_rate,
            CHANNELS,
            format="FLAC",
            subtype="PCM_16",
            compression_level=1.0,  # the best: 2 to 4 % smaller, for 0.1 % of a core
        )

    def write(self, frames: Pcm) -> None:
        """Append frames."""
        self._file.write(frames)

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


class WavWriter:
    """Writes WAV, which is about twice as large, where `soundfile` is not installed."""

    name = "heard.wav"

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Create the file."""
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._rate = sample_rate
        self._size = 0
        self._file.write(self._header(0xFFFF_FFFF - 36))  # until it is complete: to its end

    def write(self, frames: Pcm) -> None:
        """Append frames."""
        self._size += self._file.write(frames.astype("<i2").tobytes())

    def close(self) -> None:
        """Complete the header."""
        self._file.seek(0)
        self._file.write(self._header(self._size))
        self._file.close()

    def _header(self, size: int) -> bytes:
        width = 2 * CHANNELS
        return (
            b"RIFF"
            + struct.pack("<I", 36 + size)
            + b"WAVEfmt "
            + struct.pack(
                "<IHHIIHH4sI",
                16,
                1,
                CHANNELS,
                self._rate,
                self._rate * width,
                width,
                16,
                b"data",
                size,
            )
        )


def sound_file_class() -> type[FlacWriter] | type[WavWriter]:
    """Return what can be written here."""
    if importlib.util.find_spec("soundfile") is not None:
        return FlacWriter
    logger.info("recordings have WAV sound; for FLAC, half the size: pip install soundfile")
    return WavWriter


class SoundFile:
    """The file with both channels."""

    def __init__(self, writer: SoundWriter, sample_rate: int, start: float) -> None:
        """Begin at a second of the call."""
        self.sample_rate = sample_rate
        self._writer = writer
        self._start = start
        self._tracks = Track(sample_rate), Track(sample_rate)
        self._frames = 0

    def add(self, channel: int, samples: Pcm, rate: int, at: float) -> None:
        """Add sound that began at a second of the call."""
        samples = resampled(samples, rate, self.sample_rate)
        self._tracks[channel].add(samples, at - self._start)

    def cut(self, channel: int, at: float) -> None:
        """Leave out what would be heard after a second of the call."""
        self._tracks[channel].cut(at - self._start)

    def write_until(self, now: float) -> None:
        """Write what is before a second of the call, but for the latest."""
        behind = round((now - self._start - _BEHIND) * self.sample_rate)
        self._write(max(behind, self._end - round(_AHEAD * self.sample_rate)))

    def close(self) -> None:
        """Write everything."""
        self._write(self._end)
        self._writer.close()

    @property
    def _end(self) -> int:
        return max(track.end for track in self._tracks)

    def _write(self, until: int) -> None:
        if until > self._frames:
            self._frames = until
            self._writer.write(np.stack([track.take(until) for track in self._tracks], axis=1))


def resampled(samples: Pcm, rate: int, to: int) -> Pcm:
    """Return samples at another rate, by linear interpolation."""
    if rate == to or not len(samples):
        return samples
    count = round(len(samples) * to / rate)
    places = np.arange(count) * (rate / to)
    between: Pcm = np.interp(places, np.arange(len(samples)), samples).astype(np.int16)
    return between
