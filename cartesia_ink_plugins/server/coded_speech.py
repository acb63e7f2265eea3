"""Coded speech: audio whose words are decoded from their tones without error.

In a test, lost audio must be lost words and audio sent twice repeated words, wherever it is cut. So
each word is coded in its sound: two chords, each of three digits (one of ten tones in each of three
groups) and a marker tone that tells the first chord from the second. The first has three digits of
the word's index; the second has the fourth, the kind of pause that follows, and a check digit. A
word that is cut is not decoded.

All tones are multiples of 100 Hz below 3.4 kHz, so any 10 ms hold whole periods: frames need no
alignment, and the code survives any gain, the six encodings and telephone rates. To a VAD that goes
by energy it is speech of about -13 dBFS with silence between the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from functools import cache, lru_cache

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.errors import UsageError

FRAME_SECONDS = 0.01
CHORD_SECONDS = 0.1
WORD_SECONDS = 2 * CHORD_SECONDS
MAX_VOCABULARY = 10_000
MIN_SAMPLE_RATE = 8_000

SILENT = -2
SOUND = -1

_MARKERS = (200, 300)
_GROUPS = tuple(range(low, low + 1000, 100) for low in (400, 1400, 2400))
_TONES = len(_MARKERS) + 3 * 10
_PLACES = np.array([100, 10, 1])
_AMPLITUDE = 0.15
_SOUNDING_POWER = 0.01**2
_PURITY = 0.7
_CHORD_FRAMES = 8  # of the 9 or 10 whole frames in a chord
_WORD_FRAMES = 18  # of the 19 or 20 in a word, so that a loss of 30 ms anywhere is detected
_MAX_KNOWN = 9999  # frames of 320 bytes or so
_BLURRED_FRAMES = 2  # at the transition from one chord to the next


class Pause(IntFlag):
    """How the silence after a word affects the turn."""

    PLAIN = 0
    HELD = 1
    """It does not end the turn before the timeout."""
    NO_EAGER = 2
    """It gives no eager end."""


@dataclass(frozen=True, slots=True)
class CodedWord:
    """One word in coded speech.

    Attributes:
        index: Index in the vocabulary, 0 to 9999.
        pause: The kind of pause that follows.
    """

    index: int
    pause: Pause = Pause.PLAIN

    def render(self, sample_rate: int) -> Samples:
        """Render the word: 200 ms.

        Raises:
            UsageError: The sample rate is below 8000 Hz, too low for the tones.
        """
        if sample_rate < MIN_SAMPLE_RATE:
            raise UsageError(f"sample_rate: coded speech needs {MIN_SAMPLE_RATE} Hz or more")
        low, high = self.index % 1000, self.index // 1000
        digits = (low // 100, low // 10 % 10, low % 10)
        second = (high, int(self.pause), (sum(digits) + high + self.pause) % 10)
        chords = [_chord(0, digits, sample_rate), _chord(1, second, sample_rate)]
        return np.concatenate(chords)

    @classmethod
    def from_chords(cls, first: int, second: int) -> CodedWord | None:
        """Decode the numbers of two chords; None if the check digit is wrong."""
        high, pause, check = second // 100, second // 10 % 10, second % 10
        digits = first // 100 + first // 10 % 10 + first % 10
        if pause > Pause.HELD | Pause.NO_EAGER or (digits + high + pause) % 10 != check:
            return None
        return cls(high * 1000 + first, Pause(pause))


def noise(seconds: float, sample_rate: int, seed: int = 0, level: float = 0.1) -> Samples:
    """Return white noise; `level` is its RMS, 0 to 1."""
    size = round(seconds * sample_rate)
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(size, np.float32) * np.float32(level)).clip(-1, 1)


def silence(seconds: float, sample_rate: int) -> Samples:
    """Return silence."""
    return np.zeros(round(seconds * sample_rate), np.float32)


@lru_cache(1000)
def _chord(marker: int, digits: tuple[int, int, int], sample_rate: int) -> Samples:
    tones = (_MARKERS[marker], *(group[d] for group, d in zip(_GROUPS, digits, strict=True)))
    time = np.arange(round(CHORD_SECONDS * sample_rate), dtype=np.float64) / sample_rate
    chord = np.zeros_like(time)
    for phase, hz in enumerate(tones):
        chord += np.sin(2 * np.pi * hz * time + phase * 1.3)  # different phases keep the peak low
    return (_AMPLITUDE * chord).astype(np.float32)


@cache
def _known_frames(audio: AudioFormat) -> dict[bytes, int]:
    """Return chords by the bytes of their frames."""
    return {audio.silence(FRAME_SECONDS): SILENT}


class WordReader:
    """Decodes words from audio in chunks of any size.

    Each 10 ms of audio give one value: `SILENT`, `SOUND`, or the word that they complete.
    """

    def __init__(self, audio: AudioFormat) -> None:
        """Start at any position of the audio."""
        self._audio = audio
        self._size = max(1, round(audio.sample_rate * FRAME_SECONDS))
        self._rest = b""
        self._known = _known_frames(audio)
        tones = np.array([*_MARKERS, *(hz for group in _GROUPS for hz in group)])
        angles = 2 * np.pi * np.outer(np.arange(self._size) / audio.sample_rate, tones)
        scale = np.sqrt(2 / self._size)
        basis = np.hstack([np.cos(angles), np.sin(angles)]) * scale
        self._basis = basis.astype(np.float32)
        self._symbol, self._run, self._first, self._blur = SILENT, 0, -1, 0
        self._needed = 0

    @property
    def frame_seconds(self) -> float:
        """Seconds of a frame."""
        return self._size / self._audio.sample_rate

    def read(self, pcm: bytes) -> list[int | CodedWord]:
        """Return one value for each frame that these bytes complete."""
        data = self._rest + pcm
        size = self._size * self._audio.sample_width
        end = len(data) // size * size
        self._rest = data[end:]
        frames = [data[at : at + size] for at in range(0, end, size)]
        symbols = [known for frame in frames if (known := self._known.get(frame)) is not None]
        if len(symbols) < len(frames):
            symbols = self._symbols(self._audio.decode(data[:end]).reshape(len(frames), -1))
            if len(self._known) < _MAX_KNOWN:
                pairs = zip(frames, symbols, strict=True)
                self._known.update(pair for pair in pairs if pair[1] >= 0)
        return [self._step(symbol) for symbol in symbols]

    def _symbols(self, frames: Samples) -> list[int]:
        """Return the chord of each frame: marker and three digits, or `SOUND`, or `SILENT`."""
        power = np.square(frames).sum(axis=1)
        projected = np.square(frames @ self._basis)
        tones = projected[:, :_TONES] + projected[:, _TONES:]
        markers, digits = tones[:, 0:2], tones[:, 2:].reshape(-1, 3, 10)
        peaks = digits.max(axis=2).sum(axis=1) + markers.max(axis=1)
        chords = digits.argmax(axis=2) @ _PLACES + 1000 * markers.argmax(axis=1)
        chords[peaks < _PURITY * power] = SOUND
        chords[power <= _SOUNDING_POWER * self._size] = SILENT
        result: list[int] = chords.tolist()
        return result

    def _step(self, symbol: int) -> int | CodedWord:
        """Track the chords; a word is complete when its second chord is long enough."""
        if symbol == SILENT:
            self._symbol, self._run, self._first, self._blur = SILENT, 0, -1, 0
            return SILENT
        if symbol == SOUND:
            self._blur += 1
            return SOUND
        if symbol == self._symbol and not self._blur:
            self._run += 1
        else:
            self._change_chord(symbol)
        self._blur = 0
        if self._first < 0 or self._run < max(_CHORD_FRAMES, self._needed):
            return SOUND
        word = CodedWord.from_chords(self._first, symbol - 1000)
        self._first = -1
        return word or SOUND

    def _change_chord(self, symbol: int) -> None:
        """Begin a chord; keep the previous one if the two can be a word."""
        whole = self._run >= _CHORD_FRAMES and self._blur <= _BLURRED_FRAMES
        follows = 0 <= self._symbol < 1000 <= symbol
        self._first = self._symbol if whole and follows else -1
        self._needed = _WORD_FRAMES - min(self._run + self._blur, _WORD_FRAMES // 2 + 1)
        self._symbol, self._run = symbol, 1
