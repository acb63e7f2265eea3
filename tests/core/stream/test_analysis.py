"""Audio on its way to the analysis: gathered, and never with a wrong time."""

from __future__ import annotations

import logging

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.analysis import AnalysisQueue
from cartesia_ink_plugins.core.tap import InputAudio, Moment, MomentKind, Taps

FORMAT = AudioFormat()
FRAME = 1 / 32  # seconds; a sum of them is exact


class Recorder:
    """A tap that keeps every moment."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def on(self, moment: Moment) -> None:
        self.moments.append(moment)


class Caller:
    """Hands in audio as a session does, and keeps what is analysed."""

    def __init__(self, *taps: Recorder) -> None:
        self.analysed: list[tuple[bytes, float]] = []
        self.queue = AnalysisQueue(
            lambda pcm, at: self.analysed.append((pcm, at)),
            FORMAT,
            Taps(taps, logging.getLogger("test")),
        )
        self.now = 0.0
        self.heard_at = 0.0
        self.spoken = 0

    def speak(self, frames: int = 1) -> None:
        """Speak in real time; each byte says in which frame it was."""
        for _ in range(frames):
            self.now += FRAME
            pcm = bytes([self.spoken]) * FORMAT.size(FRAME)
            self.spoken += 1
            if self.now >= self.queue.due_at:
                self.queue.add_due(pcm, self.now, self.heard_at)
            else:
                self.queue.collect(pcm)
            self.heard_at = self.now

    def frames(self) -> list[tuple[list[int], float]]:
        """Which frames were analysed in each piece, and when that ended."""
        size = FORMAT.size(FRAME)
        return [(list(pcm[::size]), at) for pcm, at in self.analysed]


def test_the_first_frame_is_analysed_at_once_and_others_every_tenth_of_a_second() -> None:
    caller = Caller()
    caller.speak(9)
    assert caller.frames() == [
        ([0], 1 * FRAME),
        ([1, 2, 3, 4], 5 * FRAME),
        ([5, 6, 7, 8], 9 * FRAME),
    ]


def test_what_was_collected_can_be_analysed_at_any_time_and_only_once() -> None:
    caller = Caller()
    caller.speak(3)
    caller.queue.flush(caller.now)
    caller.queue.flush(caller.now)
    assert caller.frames() == [([0], 1 * FRAME), ([1, 2], 3 * FRAME)]


def test_audio_before_a_pause_keeps_its_time() -> None:
    caller = Caller()
    caller.speak(3)
    caller.now = 5.0
    caller.speak()
    assert caller.frames() == [([0], 1 * FRAME), ([1, 2], 3 * FRAME), ([3], 5.0 + FRAME)]


def test_a_tap_is_told_of_each_piece_with_its_place_in_the_stream() -> None:
    tap = Recorder()
    caller = Caller(tap)
    caller.speak(3)
    caller.queue.flush(caller.now)
    (first, _), (second, _) = caller.analysed
    assert [(moment.kind, moment.time, moment.payload) for moment in tap.moments] == [
        (MomentKind.AUDIO, FRAME, InputAudio(0.0, FRAME, FRAME, first)),
        (MomentKind.AUDIO, 3 * FRAME, InputAudio(FRAME, 3 * FRAME, 2 * FRAME, second)),
    ]
