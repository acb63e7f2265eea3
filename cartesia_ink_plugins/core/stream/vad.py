"""Voice activity detection by energy: where speech began and ended in the caller's audio.

The API's events carry no times, so the client measures them. A frame is speech when its energy is
above a tracked noise floor, with hysteresis (a higher threshold for the onset than for going on),
and not far below the loudest voice of the last seconds. The detector decides nothing about turns.

Audio is analysed when a question is asked or a second of it has gathered, in one vectorized step.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat

FRAME = 0.02
"""Seconds of audio that are judged together; shorter than a phone, longer than a pitch period."""

# Frames of 20 ms.
_ONSET_FRAMES = 3  # a click is shorter
_HANGOVER_FRAMES = 10  # the closure of a plosive within a word is shorter
_LOOK_BACK_FRAMES = 10  # how far an onset reaches back into frames above the hold threshold
_WHISPER_FRAMES = 150  # how far the quiet sound before an onset may reach back
_MEMORY_FRAMES = 200  # as many levels as a look back may need
_FLOOR_BLOCK = 25  # the noise floor is the minimum of blocks of half a second
_FLOOR_BLOCKS = 8  # 4 s: longer than anybody speaks without a pause
_STEADY_FRAMES = 6  # noise is steady for longer than a vowel
_FLOOR_SMOOTHING = 0.2  # share of a new frame in the smoothed level

# Levels in dBFS, and distances in dB. Found with recorded speech in quiet and in noise of 20 dB.
_ONSET_DB = 10.0
_HOLD_DB = 3.5
_RANGE_DB = 20.0  # speech is not further below the loudest voice
_FADE_DB = 0.12  # a frame: the loudest voice is forgotten at 6 dB per second
_NOTHING = (-120.0, -120.0)
_QUIETEST_DB = -55.0
_FIRST_FLOOR_DB = -50.0
_STEADY_DB = 4.0

# Seconds.
_GATHER = 1.0
_ANCHOR_DRIFT = 0.02  # arrival times are noted anew when they move by a frame
_LATE_FOR = 1.0  # how long a late arrival can be taken for a hiccup of the network

_MAX_ANCHORS = 512  # a count; where audio arrives evenly there is one
_MAX_STRETCHES = 256  # a count; minutes of speech, more than the replay buffer holds


@dataclass(slots=True)
class Speech:
    """One stretch of speech, as stream positions in bytes.

    Attributes:
        start: Where it begins.
        end: Where it ends, as far as is known.
        sound: Where the sound began that ran into it, which may have been a whisper.
        open: Whether it still goes on.
    """

    start: int
    end: int
    sound: int
    open: bool = True


class _NoiseFloor:
    """The quietest moment of the last seconds, in dBFS."""

    __slots__ = ("_blocks", "_count", "_past", "_quietest", "_smooth")

    def __init__(self, first: float = _FIRST_FLOOR_DB) -> None:
        self._blocks: deque[float] = deque(maxlen=_FLOOR_BLOCKS)
        self._past = self._smooth = first
        self._quietest = 0.0
        self._count = 0

    def track(self, levels: Sequence[float]) -> list[float]:
        """Take the levels of some frames; return the floor at each."""
        smooth, quietest, count = self._smooth, self._quietest, self._count
        if not self._blocks and not count:
            smooth = levels[0]
        floors = []
        for level in levels:
            smooth += (level - smooth) * _FLOOR_SMOOTHING
            if smooth < quietest:
                quietest = smooth
            count += 1
            if count == _FLOOR_BLOCK:
                self._blocks.append(quietest)
                self._past = min(self._blocks)
                quietest, count = smooth, 0
            floors.append(self._past if self._past < quietest else quietest)
        self._smooth, self._quietest, self._count = smooth, quietest, count
        return floors


class EnergyVAD:
    """Takes all audio in order; answers questions about stretches of speech."""

    def __init__(self, format: AudioFormat) -> None:
        """Begin before the first audio, of one format."""
        self._format = format
        self._frame = max(format.size(FRAME), format.sample_width)
        self._gather = format.size(_GATHER)
        self._pending: list[bytes] = []
        self._position = 0
        self._floor = _NoiseFloor()
        self._loudest = _QUIETEST_DB
        self._recent = deque(_NOTHING, maxlen=_MEMORY_FRAMES)
        self._known_at = _FLOOR_BLOCK * self._frame
        self._above = 0
        self._below = 0
        self._stretches: deque[Speech] = deque(maxlen=_MAX_STRETCHES)
        # From each of these positions on: when position 0 would have been handed in, at the steady
        # rate of then. Where audio comes unevenly, there are many.
        self._anchors = array("q")
        self._zeros = array("d")
        self._zero = float("-inf")
        self._end = 0

    def audio_received(self, pcm: bytes, now: float) -> None:
        """Take the next audio, which ended at `now`."""
        self._pending.append(pcm)
        start, self._end = self._end, self._end + len(pcm)
        if self._end - self._position >= self._gather:
            self._analyse()
        zero = now - self._end / self._format.byte_rate
        if not -_ANCHOR_DRIFT < zero - self._zero < _ANCHOR_DRIFT:
            if zero < self._zero:
                start = self._correct_lateness(start, zero)
            self._zero = zero
            self._anchors.append(start)
            self._zeros.append(zero)
            if len(self._anchors) > 2 * _MAX_ANCHORS:
                del self._anchors[:_MAX_ANCHORS], self._zeros[:_MAX_ANCHORS]

    def audio_stopped(self) -> None:
        """No more audio comes for now: end the stretch that is open."""
        self._analyse()
        if self._stretches:
            self._stretches[-1].open = False
        self._recent = deque(_NOTHING, maxlen=_MEMORY_FRAMES)
        self._above = 0

    def stretches(self, after: int, before: int) -> list[Speech]:
        """The stretches of speech that lie, at least partly, between two positions."""
        self._analyse()
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
        self._analyse()
        return next((s for s in reversed(self._stretches) if s.start < before), None)

    def speech_end(self, position: int) -> int:
        """Where the stretch around a position ends, as far as is known; itself in silence."""
        speech = self.last(position)
        return position if speech is None else max(position, speech.end)

    def seconds(self, after: int, before: int) -> float:
        """How much speech there is between two positions."""
        stretches = self.stretches(after, before)
        size = sum(min(s.end, before) - max(s.start, after) for s in stretches)
        return self._format.seconds(size)

    def time_of(self, position: int) -> float | None:
        """When the audio at a position was handed in; None when that is too long ago to know."""
        number = bisect_right(self._anchors, position)
        return self._zeros[number - 1] + position / self._format.byte_rate if number else None

    def _correct_lateness(self, start: int, zero: float) -> int:
        """Correct the arrival times of audio that was late for a moment: it was spoken earlier.

        Returns:
            The position from which the new arrival time holds. Audio that arrives ever sooner, as
            from a file, is not corrected.
        """
        number = len(self._anchors)
        while number and self._zeros[number - 1] > zero:
            number -= 1
            if start - self._anchors[number] > _LATE_FOR * self._format.byte_rate:
                return start
        first = self._anchors[number] if number < len(self._anchors) else start
        del self._anchors[number:], self._zeros[number:]
        return first

    def _analyse(self) -> None:
        """Judge the gathered audio, frame by frame."""
        frames = (self._end - self._position) // self._frame
        if not frames:
            return
        pcm = b"".join(self._pending)
        size = frames * self._frame
        rest = pcm[size:]
        self._pending = [rest] if rest else []
        samples = self._format.decode(pcm[:size]).reshape(frames, -1)
        count = samples.shape[1]
        # Without the offset that a cheap microphone adds.
        offset = np.einsum("ij->i", samples) / count
        power = np.einsum("ij,ij->i", samples, samples) / count - offset * offset
        levels = (10.0 * np.log10(np.maximum(power, 1e-12))).tolist()
        if self._position < self._known_at <= self._position + size:
            first = (self._known_at - self._position) // self._frame
            self._judge(levels[:first])
            self._judge_first_frames_again()
            levels = levels[first:]
        self._judge(levels)

    def _judge(self, levels: Sequence[float]) -> None:
        """Judge frames by their levels in dBFS."""
        recent, loudest, above = self._recent, self._loudest, self._above
        speech = self._stretches[-1] if self._stretches and self._stretches[-1].open else None
        for level, floor in zip(levels, self._floor.track(levels), strict=True):
            self._position += self._frame
            loudest -= _FADE_DB
            # A click is loud for a frame or two, a voice for longer.
            rises = level > loudest and recent[-1] > loudest and recent[-2] > loudest
            if rises:
                loudest = min(level, recent[-1], recent[-2])
            recent.append(level)
            least = loudest - _RANGE_DB
            if least < _QUIETEST_DB:
                least = _QUIETEST_DB
            hold = floor + _HOLD_DB
            if hold < least:
                hold = least
            if speech is None:
                above = above + 1 if level > floor + _ONSET_DB and level > least else 0
                if above >= _ONSET_FRAMES:
                    speech = self._begin(hold, floor + _HOLD_DB)
                    above = 0
            elif level > hold:
                self._below = 0
                speech.end = self._position
                if rises:
                    self._trim(speech, hold)
            else:
                self._below += 1
                if self._below == _HANGOVER_FRAMES:
                    speech.open = False
                    speech = None
        self._loudest, self._above = loudest, above

    def _begin(self, hold: float, silence: float) -> Speech:
        """Open a stretch, as far back as the audio was above the hold threshold."""
        frames = 0
        for level in reversed(self._recent):
            if level <= hold or frames == _LOOK_BACK_FRAMES:
                break
            frames += 1
        start = self._position - max(frames, _ONSET_FRAMES) * self._frame
        sound = self._position - self._frames_since(silence) * self._frame
        if self._stretches:
            start = max(start, self._stretches[-1].end)
            sound = max(sound, self._stretches[-1].end)
        speech = Speech(start, self._position, min(start, sound))
        self._stretches.append(speech)
        self._below = 0
        return speech

    def _frames_since(self, silence: float) -> int:
        """Count the frames since the last silence that was longer than between two words."""
        frames = 0
        for number, level in enumerate(reversed(self._recent), 1):
            if level > silence:
                frames = number
            if number - frames == _HANGOVER_FRAMES or number == _WHISPER_FRAMES:
                break
        return frames

    def _trim(self, speech: Speech, hold: float) -> None:
        """Cut what the stretch began with, when it is far below the voice that follows."""
        frames = (self._position - speech.start) // self._frame
        if frames > len(self._recent):
            return
        quiet = takewhile(
            lambda level: level <= hold, islice(self._recent, len(self._recent) - frames, None)
        )
        speech.start += sum(1 for _ in quiet) * self._frame

    def _judge_first_frames_again(self) -> None:
        """Tell noise at the start of a stream from a voice: its quietest frames are steady.

        Before that nothing was known of the noise, so a stream that begins with noise seemed to
        begin with speech.
        """
        levels = list(self._recent)[len(_NOTHING) :]
        quietest = min(levels)
        steady = longest = 0
        for level in levels:
            steady = steady + 1 if level < quietest + _STEADY_DB else 0
            longest = max(longest, steady)
        if quietest <= _FIRST_FLOOR_DB or longest < _STEADY_FRAMES or len(levels) < _FLOOR_BLOCK:
            return
        self._floor = _NoiseFloor(quietest)
        self._stretches.clear()
        self._recent = deque(_NOTHING, maxlen=_MEMORY_FRAMES)
        self._loudest = _QUIETEST_DB
        self._above = self._below = 0
        self._position -= len(levels) * self._frame
        self._judge(levels)
