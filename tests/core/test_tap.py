"""Observers are told in order, see every number, and cost the session nothing."""

from __future__ import annotations

import logging

import pytest

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


class WithoutAudio(Recorder):
    """A tap that wants no moment for every message of audio."""

    watches_audio = False


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


def test_audio_is_watched_if_one_tap_does_and_by_default_each_does() -> None:
    assert not Taps([], LOG).watches_audio
    assert not Taps([WithoutAudio(), WithoutAudio()], LOG).watches_audio
    assert Taps([WithoutAudio(), Recorder()], LOG).watches_audio
    assert Taps([Recorder()], LOG).watches_audio


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
    assert taps.watches_audio
