"""The speech clock: where speech began and ended in the caller's audio, from the audio itself.

The API's events carry no times. So the client listens too, with the simplest ear that will do:
energy above a tracked noise floor, with a higher bar to begin than to go on. It decides nothing
about turns; it tells *when*, and whether there was anything to hear.

Audio is only looked at when a question is asked or a second of it has gathered, in one vectorised
step, because the question is rare and the audio is not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat

FRAME = 0.02
_ONSET_FRAMES = 3
_HANGOVER_FRAMES = 10
_LOOK_BACK_FRAMES = 10
_FLOOR_BLOCK = 25
_FLOOR_BLOCKS = 8
_FLOOR_SMOOTHING = 0.2
_ONSET_DB = 10.0
_HOLD_DB = 6.0
_QUIETEST_DB = -55.0
_FIRST_FLOOR_DB = -50.0
_GATHER = 1.0
_ANCHOR_DRIFT = 0.02


@dataclass(slots=True)
class Speech:
    """One stretch of speech, as stream positions in bytes; `open` while it still goes on."""

    start: int
    end: int
    open: bool = True


class _NoiseFloor:
    """The quietest moment of the last seconds, in dBFS."""

    __slots__ = ("_blocks", "_count", "_past", "_quietest", "_smooth")

    def __init__(self) -> None:
        self._blocks: deque[float] = deque(maxlen=_FLOOR_BLOCKS)
        self._past = self._smooth = _FIRST_FLOOR_DB
        self._quietest = 0.0
        self._count = 0

    def hear(self, level: float) -> float:
        """Take one frame's level; return the floor."""
        if not self._blocks and not self._count:
            self._smooth = level
        smooth = self._smooth + (level - self._smooth) * _FLOOR_SMOOTHING
        self._smooth = smooth
        if smooth < self._quietest:
            self._quietest = smooth
        self._count += 1
        if self._count == _FLOOR_BLOCK:
            self._blocks.append(self._quietest)
            self._past = min(self._blocks)
            self._quietest = smooth
            self._count = 0
        return self._past if self._past < self._quietest else self._quietest


class SpeechClock:
    """Hears all audio in order; answers questions about stretches of speech."""

    def __init__(self, format: AudioFormat) -> None:
        """Listen to audio of one format."""
        self._format = format
        self._frame = max(format.size(FRAME), format.sample_width)
        self._gather = format.size(_GATHER)
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._position = 0
        self._floor = _NoiseFloor()
        self._recent: deque[float] = deque(maxlen=_LOOK_BACK_FRAMES)
        self._above = 0
        self._below = 0
        self._stretches: deque[Speech] = deque(maxlen=256)
        self._anchors: deque[tuple[int, float]] = deque(maxlen=512)
        self._end = 0

    def hear(self, pcm: bytes, now: float) -> None:
        """Take the next audio, which ended at `now`."""
        size = len(pcm)
        self._pending.append(pcm)
        self._pending_size += size
        self._end += size
        if self._pending_size >= self._gather:
            self._listen()
        anchors = self._anchors
        if anchors:
            position, time = anchors[-1]
            drift = now - time - (self._end - position) / self._format.byte_rate
            if -_ANCHOR_DRIFT < drift < _ANCHOR_DRIFT:
                return
        anchors.append((self._end - size, now - size / self._format.byte_rate))

    def interrupt(self) -> None:
        """No more audio comes for now: whoever spoke cannot be heard any more."""
        self._listen()
        if self._stretches:
            self._stretches[-1].open = False
        self._recent.clear()
        self._above = 0

    def stretches(self, after: int, before: int) -> list[Speech]:
        """The stretches of speech that lie, at least partly, between two positions."""
        self._listen()
        found = []
        for speech in reversed(self._stretches):
            if speech.end <= after:
                break
            if speech.start < before:
                found.append(speech)
        found.reverse()
        return found

    def last(self, before: int) -> Speech | None:
        """The latest stretch that began before a position."""
        self._listen()
        return next((s for s in reversed(self._stretches) if s.start < before), None)

    def seconds(self, after: int, before: int) -> float:
        """How much speech there is between two positions."""
        stretches = self.stretches(after, before)
        size = sum(min(s.end, before) - max(s.start, after) for s in stretches)
        return self._format.seconds(size)

    def time_of(self, position: int) -> float | None:
        """When the audio at a position was handed in; None when that is too long ago to know."""
        for at, time in reversed(self._anchors):
            if at <= position:
                return time + (position - at) / self._format.byte_rate
        return None

    def _listen(self) -> None:
        """Look at the gathered audio, frame by frame."""
        frames = self._pending_size // self._frame
        if not frames:
            return
        pcm = b"".join(self._pending)
        size = frames * self._frame
        rest = pcm[size:]
        self._pending = [rest] if rest else []
        self._pending_size = len(rest)
        samples = self._format.decode(pcm[:size]).reshape(frames, -1)
        centred = samples - samples.mean(axis=1, keepdims=True)
        power = np.einsum("ij,ij->i", centred, centred) / samples.shape[1]
        for level in (10.0 * np.log10(power + 1e-12)).tolist():
            self._step(level)

    def _step(self, level: float) -> None:
        """Judge one frame by its level in dBFS."""
        self._position += self._frame
        recent = self._recent
        recent.append(level)
        floor = self._floor.hear(level)
        speech = self._stretches[-1] if self._stretches and self._stretches[-1].open else None
        if speech is None:
            self._above = self._above + 1 if level > max(floor + _ONSET_DB, _QUIETEST_DB) else 0
            if self._above >= _ONSET_FRAMES:
                self._begin(max(floor + _HOLD_DB, _QUIETEST_DB))
        elif level > max(floor + _HOLD_DB, _QUIETEST_DB):
            self._below = 0
            speech.end = self._position
        else:
            self._below += 1
            speech.open = self._below < _HANGOVER_FRAMES

    def _begin(self, hold: float) -> None:
        """Open a stretch, as far back as the audio was already above the bar to go on."""
        frames = 0
        for level in reversed(self._recent):
            if level <= hold:
                break
            frames += 1
        start = self._position - max(frames, _ONSET_FRAMES) * self._frame
        if self._stretches:
            start = max(start, self._stretches[-1].end)
        self._stretches.append(Speech(start, self._position))
        self._above = self._below = 0
