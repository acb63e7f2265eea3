"""Observers are told in order, see every number, and cost the session nothing."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.core.events import TurnEnd, TurnUpdate
from cartesia_ink_plugins.core.tap import Moment, MomentKind, Taps

LOG = logging.getLogger("test")


class Recorder:
    """A tap that keeps every moment, and writes its name into a list that several share."""

    def __init__(self, name: str = "", order: list[str] | None = None) -> None:
        self.moments: list[Moment] = []
        self._name = name
        self._order = order if order is not None else []

    def on(self, moment: Moment) -> None:
        self.moments.append(moment)
        self._order.append(f"{self._name} {moment.kind.value}")


class Broken:
    """A tap that always raises."""

    def on(self, moment: Moment) -> None:
        raise ValueError("a fault of the tap")


class Chooser(Recorder):
    """A tap that wants two kinds of moments."""

    kinds = frozenset({MomentKind.OPENED, MomentKind.SENT})


def test_taps_are_called_in_their_order_one_moment_after_the_other() -> None:
    order: list[str] = []
    taps = Taps([Recorder("first", order), Recorder("second", order)], LOG)
    taps.on(1.0, MomentKind.CONNECTING)
    taps.on(2.0, MomentKind.OPENED, "request")
    assert order == ["first connecting", "second connecting", "first opened", "second opened"]


def test_a_moment_has_time_kind_payload_and_the_numbers_of_connection_and_turn() -> None:
    tap = Recorder()
    taps = Taps([tap], LOG)
    taps.on(1.5, MomentKind.CONNECTING)
    taps.connection, taps.turn = 2, 7
    taps.on(2.5, MomentKind.COMMAND, "close")
    assert tap.moments == [
        Moment(1.5, MomentKind.CONNECTING, connection=0, turn=0, payload=None),
        Moment(2.5, MomentKind.COMMAND, connection=2, turn=7, payload="close"),
    ]


def test_all_taps_receive_the_same_moment() -> None:
    first, second = Recorder(), Recorder()
    Taps([first, second], LOG).on(1.0, MomentKind.FINISHED)
    assert first.moments[0] is second.moments[0]


def test_a_tap_that_raises_is_logged_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before, after = Recorder(), Recorder()
    taps = Taps([before, Broken(), after], LOG)
    for kind in (MomentKind.OPENED, MomentKind.FINISHED):
        taps.on(1.0, kind)
    assert before.moments == after.moments
    assert len(after.moments) == 2
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "a tap failed on opened"),
        (logging.ERROR, "a tap failed on finished"),
    ]
    assert "a fault of the tap" in caplog.text


def test_a_tap_that_is_cancelled_or_interrupted_is_not_held_back() -> None:
    class Interrupted:
        def on(self, moment: Moment) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Taps([Interrupted()], LOG).on(1.0, MomentKind.OPENED)


def test_a_tap_is_told_of_the_kinds_that_it_wants_and_by_default_of_all() -> None:
    every, chosen = Recorder(), Chooser()
    taps = Taps([every, chosen], LOG)
    for kind in MomentKind:
        taps.on(1.0, kind)
    assert [moment.kind for moment in every.moments] == list(MomentKind)
    assert [moment.kind for moment in chosen.moments] == [MomentKind.OPENED, MomentKind.SENT]


def test_a_kind_is_wanted_if_one_tap_wants_it() -> None:
    assert not Taps([], LOG).want(MomentKind.SENT)
    assert not Taps([Chooser(), Chooser()], LOG).want(MomentKind.AUDIO)
    assert Taps([Chooser(), Chooser()], LOG).want(MomentKind.SENT)
    assert Taps([Chooser(), Recorder()], LOG).want(MomentKind.AUDIO)


def test_a_tap_is_told_of_the_classes_of_events_that_it_wants() -> None:
    class Ends(Recorder):
        kinds = (MomentKind.LOST, TurnEnd)

    ends, events = Ends(), Recorder()
    taps = Taps([ends, events], LOG)
    update, end = TurnUpdate("Hello"), TurnEnd("Hello.")
    for event in (update, end, end):
        taps.on(1.0, MomentKind.EVENT, event)
    # The payload of another kind of moment is no event.
    taps.on(2.0, MomentKind.SPECULATION_ENDED, end)
    assert [moment.payload for moment in ends.moments] == [end, end]
    assert [moment.payload for moment in events.moments] == [update, end, end, end]


def test_nothing_is_made_of_a_kind_that_no_tap_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MomentKind] = []

    def make(time: float, kind: MomentKind, *rest: object) -> Moment:
        made.append(kind)
        return Moment(time, kind, 0, 0)

    monkeypatch.setattr("cartesia_ink_plugins.core.tap.Moment", make)
    taps = Taps([Chooser()], LOG)
    taps.on(1.0, MomentKind.RECEIVED, "text")
    taps.on(1.0, MomentKind.EVENT, TurnUpdate("text"))
    taps.on(1.0, MomentKind.OPENED)
    assert made == [MomentKind.OPENED]


def test_without_taps_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    taps = Taps([], LOG)
    taps.on(1.0, MomentKind.OPENED)
    assert not caplog.records


def test_an_iterator_of_taps_is_read_once() -> None:
    tap = Recorder()
    taps = Taps(iter([tap]), LOG)
    taps.on(1.0, MomentKind.OPENED)
    taps.on(2.0, MomentKind.FINISHED)
    assert len(tap.moments) == 2
    assert taps.want(MomentKind.SENT)
