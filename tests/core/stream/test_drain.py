"""The end of a stream: `close` is sent once a connection, and everything within a time limit."""

from __future__ import annotations

from cartesia_ink_plugins.core.stream.drain import Drain, DrainState

NEVER = float("inf")


def test_a_stream_goes_on_without_a_deadline() -> None:
    drain = Drain(5.0)
    assert drain.state is DrainState.STREAMING
    assert drain.deadline == NEVER


def test_the_end_has_the_time_that_was_configured() -> None:
    drain = Drain(5.0)
    drain.begin(100.0, None)
    assert drain.state is DrainState.FINISHING
    assert drain.deadline == 105.0


def test_or_the_time_that_the_call_gives_it() -> None:
    drain = Drain(5.0)
    drain.begin(100.0, 0.0)
    assert drain.deadline == 100.0


def test_close_was_sent() -> None:
    drain = Drain(5.0)
    drain.begin(100.0, None)
    drain.close_sent()
    assert drain.state is DrainState.CLOSE_SENT
    assert drain.deadline == 105.0


def test_after_a_loss_the_next_connection_is_asked_to_close_again() -> None:
    drain = Drain(5.0)
    drain.begin(100.0, None)
    drain.close_sent()
    drain.connection_lost()
    assert drain.state is DrainState.FINISHING
    assert drain.deadline == 105.0


def test_a_loss_before_the_end_does_not_begin_it() -> None:
    drain = Drain(5.0)
    drain.connection_lost()
    assert drain.state is DrainState.STREAMING


def test_a_loss_before_close_was_sent_changes_nothing() -> None:
    drain = Drain(5.0)
    drain.begin(100.0, None)
    drain.connection_lost()
    assert drain.state is DrainState.FINISHING


def test_it_may_end_sooner_but_never_later() -> None:
    drain = Drain(5.0)
    drain.begin(100.0, None)
    drain.end_by(102.0)
    assert drain.deadline == 102.0
    drain.end_by(104.0)
    assert drain.deadline == 102.0
