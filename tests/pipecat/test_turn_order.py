"""The order of turns in an aggregator, from the stamps of the frames alone."""

from __future__ import annotations

from cartesia_ink_plugins.pipecat.turn_frames import TurnStamp
from cartesia_ink_plugins.pipecat.turn_order import TurnOrder


def stamp(turn: int, *, has_text: bool = False, prediction: int = 0) -> TurnStamp:
    return TurnStamp("stt", turn, prediction, has_text)


def open_turn(number: int) -> TurnOrder:
    order = TurnOrder("stt")
    order.begin(number)
    return order


def test_turns_that_started_meanwhile_are_opened_one_after_the_other() -> None:
    order = open_turn(1)
    order.hold(stamp(2))
    order.hold(stamp(3))
    order.end()
    assert order.take_held() == stamp(2)
    order.begin(2)
    order.end()
    assert order.take_held() == stamp(3)
    assert order.take_held() is None


def test_a_turn_that_is_put_again_comes_before_those_that_start_meanwhile() -> None:
    order = open_turn(1)
    order.hold(stamp(2))
    order.end()
    assert order.take_held() == stamp(2)
    assert order.is_later(stamp(3))
    assert not order.is_later(stamp(2))


def test_but_keeps_none_of_them_back_once_it_was_opened_or_is_over() -> None:
    for opens in (True, False):
        order = open_turn(1)
        order.hold(stamp(2))
        order.end()
        order.take_held()
        if opens:
            order.begin(2)
            order.open = None  # ended by somebody else
        else:
            order.stopped(stamp(2))
        assert not order.is_later(stamp(3))


def test_a_turn_without_text_that_is_over_is_not_opened() -> None:
    order = open_turn(1)
    order.hold(stamp(2))
    order.hold(stamp(3))
    order.stopped(stamp(2))
    order.end()
    assert order.take_held() == stamp(3)


def test_the_text_of_a_later_turn_closes_the_one_before() -> None:
    order = open_turn(1)
    order.stopped(stamp(1, has_text=True))
    order.hold(stamp(2))
    order.advance(stamp(2, has_text=True))
    assert order.open is not None
    assert order.open.number == 2
    assert not order.open.stop_proposed
    order.end()
    assert order.is_over(2)
    assert order.take_held() is None


def test_a_prediction_that_arrives_after_it_was_taken_back() -> None:
    order = open_turn(2)
    order.take_back(stamp(2, prediction=2))
    assert order.is_taken_back(stamp(1, prediction=3))
    assert order.is_taken_back(stamp(2, prediction=2))
    assert not order.is_taken_back(stamp(2, prediction=3))
