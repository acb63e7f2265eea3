"""Log-mel features, as Whisper and smart-turn take them.

80 mel bands of 10 ms hops and 25 ms windows over 16 kHz audio, on a logarithmic scale of 8 decades
below the loudest band: the definition of the Whisper paper (https://arxiv.org/abs/2212.04356), with
Slaney's mel scale. A stream is analysed once, as it comes; every decode then takes its window of
it, so that decoding the same turn again and again costs no second analysis.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from cartesia_ink_plugins.core.audio import Samples

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
BANDS = 80
FRAMES_PER_SECOND = SAMPLE_RATE // HOP

_KEPT = 30 * FRAMES_PER_SECOND
_FLOOR = -20.0  # decades; below anything that a window may show

Features = npt.NDArray[np.float32]


class LogMel:
    """The log-mel analysis of one stream; frames are numbered from its beginning.

    At least the newest 30 seconds are kept.
    """

    __slots__ = ("_count", "_energies", "_first", "_levels", "_rest")

    def __init__(self) -> None:
        """Begin in silence."""
        self._rest = np.zeros(WINDOW // 2, np.float32)
        self._levels = np.empty((2 * _KEPT, BANDS), np.float32)
        self._energies = np.empty(2 * _KEPT, np.float32)
        self._first = self._count = 0

    def __len__(self) -> int:
        """How many frames the stream has so far."""
        return self._first + self._count

    def append(self, samples: Samples) -> None:
        """Analyse what came; 12.5 ms of it have to wait for what follows."""
        for start in range(0, len(samples), _KEPT * HOP):
            self._append(samples[start : start + _KEPT * HOP])

    def _append(self, samples: Samples) -> None:
        rest = np.concatenate((self._rest, samples))
        count = (len(rest) - WINDOW) // HOP + 1
        if count <= 0:
            self._rest = rest
            return
        windows = np.lib.stride_tricks.sliding_window_view(rest, WINDOW)[::HOP][:count]
        spectrum = np.fft.rfft(windows * _window(), axis=-1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        self._rest = rest[count * HOP :]
        if self._count + count > len(self._levels):
            self._forget(self._count + count - _KEPT)
        new = slice(self._count, self._count + count)
        self._levels[new] = np.log10(np.maximum(power @ _filters(), 10.0**_FLOOR))
        self._energies[new] = np.square(windows[:, :HOP]).sum(axis=1)
        self._count += count

    def _forget(self, frames: int) -> None:
        """Make room: forget the oldest frames."""
        frames = min(frames, self._count)
        kept = self._count - frames
        self._levels[:kept] = self._levels[frames : self._count].copy()
        self._energies[:kept] = self._energies[frames : self._count].copy()
        self._first += frames
        self._count = kept

    def whisper(self, start: int, end: int, frames: int, *, lead: int = 0) -> Features:
        """What Whisper takes: silence, frames `start` to `end`, then silence up to `frames`.

        Args:
            start: First frame of the stream.
            end: Frame after the last.
            frames: Length of the result.
            lead: Length of the silence before.

        Returns:
            An array of 1 × 80 × `frames`.
        """
        levels = np.full((frames, BANDS), _FLOOR, np.float32)
        found = self._levels[self._clamp(start) : self._clamp(end)][: frames - lead]
        levels[lead : lead + len(found)] = found
        return _scaled(levels)

    def smart_turn(self, start: int, end: int, frames: int) -> Features:
        """What smart-turn takes: silence, then at most `frames` frames that stop at `end`.

        The loudness is normalised, to a variance of one over the whole window.

        Returns:
            An array of 1 × 80 × `frames`.
        """
        span = slice(self._clamp(max(start, end - frames)), self._clamp(end))
        levels = np.full((frames, BANDS), _FLOOR, np.float32)
        found = self._levels[span]
        if len(found):
            levels[-len(found) :] = found
        variance = self._energies[span].sum() / (frames * HOP)
        return _scaled(levels - np.log10(variance + 1e-7))

    def _clamp(self, frame: int) -> int:
        return min(max(0, frame - self._first), self._count)


def _scaled(levels: Features) -> Features:
    """Lay the 8 decades below the loudest band around zero, bands first."""
    levels = np.maximum(levels, max(float(levels.max()) - 8.0, -10.0))
    return np.ascontiguousarray(((levels + 4.0) / 4.0).T[None], np.float32)


@cache
def _window() -> npt.NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def _filters() -> npt.NDArray[np.float32]:
    """Triangular bands of equal area, equally spaced on Slaney's scale from 0 to 8 kHz."""
    nyquist = SAMPLE_RATE / 2
    highest = 15.0 + np.log(nyquist / 1000.0) / _LOG_STEP
    edges = _hertz(np.linspace(0.0, highest, BANDS + 2))
    bins = np.linspace(0.0, nyquist, WINDOW // 2 + 1)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (upper - lower))).astype(np.float32)


# Slaney's scale is linear below 1 kHz (15 mels); above it, 27 mels are a factor of 6.4.
_LOG_STEP = np.log(6.4) / 27.0


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp(_LOG_STEP * (mels - 15.0)))
