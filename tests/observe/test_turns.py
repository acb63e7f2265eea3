"""A turn's report has the times of the script."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.events import Final, Interim, Timing
from cartesia_ink_plugins.core.options import ManualOptions
from cartesia_ink_plugins.core.tap import Moment, MomentKind, SessionStart
from cartesia_ink_plugins.observe.turns import TURN_KINDS, TurnReport, TurnTracker
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.world import Timed
from tests.observe.playing import EPOCH, play

LATENCY = 0.08  # seconds, of the network there and back
END_DELAY, EAGER_DELAY = 0.8, 0.3  # seconds of silence, as `ScriptTiming` has them
TOLERANCE = 0.03  # seconds: a frame, and a step of the VAD


class Reports:
    """A tap that keeps the turns that ended."""

    kinds = TURN_KINDS

    def __init__(self) -> None:
        self.turns: list[TurnReport] = []
        self._tracker = TurnTracker()

    def on(self, moment: Moment) -> None:
        if (turn := self._tracker.on(moment)) is not None:
            self.turns.append(turn)


def test_end_latency_and_eager_lead_are_those_of_the_script() -> None:
    reports = Reports()
    world = play(Script("Hello there.", "A table ... for two.", "Yes."), taps=[reports])
    assert [turn.transcript for turn in reports.turns] == world.finals
    assert [turn.number for turn in reports.turns] == [1, 2, 3]
    for turn in reports.turns:
        assert turn.end_latency == pytest.approx(END_DELAY + LATENCY, abs=TOLERANCE)
        assert turn.eager_lead == pytest.approx(END_DELAY - EAGER_DELAY, abs=TOLERANCE)
        assert EPOCH < turn.began_at < turn.ended_at
    assert [(turn.predictions, turn.resumes) for turn in reports.turns] == [(1, 0), (2, 1), (1, 0)]


def test_a_turn_begins_with_its_speech_and_not_with_its_event() -> None:
    reports = Reports()
    play(Script("Hello there.", lead_in=1.0), taps=[reports])
    [turn] = reports.turns
    assert turn.began_at - EPOCH == pytest.approx(1.0, abs=TOLERANCE)


def test_a_turn_that_was_not_predicted_has_no_lead() -> None:
    reports = Reports()
    play(Script(Turn("Hello there.", eager=False)), taps=[reports])
    [turn] = reports.turns
    assert (turn.eager_lead, turn.predictions) == (None, 0)


def test_a_turn_over_two_connections_is_one_turn_with_the_true_latency() -> None:
    reports = Reports()
    play(Script("Hello there my friends."), [Timed(1.0, Reset())], taps=[reports])
    [turn] = reports.turns
    assert turn.transcript == "Hello there my friends."
    assert turn.end_latency == pytest.approx(END_DELAY + LATENCY, abs=TOLERANCE)


def test_a_clock_that_is_set_in_mid_session_changes_no_latency() -> None:
    tracker = TurnTracker()
    tracker.on(Moment(0.0, MomentKind.STARTED, 0, 0, SessionStart("s", ManualOptions(), EPOCH)))
    hour = 3600.0
    tracker.on(Moment(5.0, MomentKind.CLOCK, 1, 0, EPOCH + hour))
    timing = Timing(1, 4.0, speech_start=EPOCH + hour + 4.0, speech_end=EPOCH + hour + 5.5)
    tracker.on(Moment(5.0, MomentKind.EVENT, 1, 1, Interim("Yes", timing)))
    turn = tracker.on(Moment(6.0, MomentKind.EVENT, 1, 1, Final("Yes.", timing=timing)))
    assert turn is not None
    assert (turn.end_latency, turn.duration) == (0.5, 2.0)


def test_a_final_without_text_is_no_turn() -> None:
    tracker = TurnTracker()
    assert tracker.on(Moment(1.0, MomentKind.EVENT, 1, 1, Final(""))) is None
    assert tracker.on(Moment(1.0, MomentKind.EVENT, 1, 1, Interim(""))) is None
    assert tracker.turn is None
