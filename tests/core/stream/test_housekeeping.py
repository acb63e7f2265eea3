"""Every half second, a little sooner with a frame of audio, and never again after the end."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.stream.housekeeping import Housekeeping

NEVER = float("inf")


def done_at(*times: float) -> Housekeeping:
    """Housekeeping that was started at 0 s and done at these times."""
    housekeeping = Housekeeping()
    housekeeping.start(0.0)
    for now in times:
        housekeeping.done(now, is_idle=False)
    return housekeeping


def test_nothing_is_due_before_the_start() -> None:
    housekeeping = Housekeeping()
    assert (housekeeping.at, housekeeping.early) == (NEVER, NEVER)
    assert not housekeeping.is_late_once


@pytest.mark.parametrize(("part", "at"), [(1.0, 10.5), (0.5, 10.25), (0.0, 10.0)])
def test_the_first_is_due_within_a_part_of_half_a_second(part: float, at: float) -> None:
    housekeeping = Housekeeping()
    housekeeping.start(10.0, part)
    assert housekeeping.at == at
    assert housekeeping.early == pytest.approx(at - 0.06)


def test_the_next_is_due_half_a_second_later() -> None:
    assert done_at(0.45).at == 0.95


def test_what_is_due_sooner_goes_before() -> None:
    housekeeping = done_at()
    housekeeping.do_by(0.3)
    assert housekeeping.at == 0.3
    housekeeping.do_by(0.4)
    housekeeping.start(0.1)
    assert housekeeping.at == 0.3


def test_an_idle_session_has_none() -> None:
    housekeeping = done_at()
    housekeeping.done(0.5, is_idle=True)
    assert housekeeping.at == NEVER


@pytest.mark.parametrize(
    ("times", "is_late_once"),
    [
        ((0.5,), False),
        ((0.59,), False),
        ((0.62,), True),
        ((0.5, 1.2), True),
        ((0.62, 1.3), False),
        ((0.62, 1.3, 2.0), False),
        ((0.62, 1.12), False),
        ((0.62, 1.12, 1.8), True),
    ],
)
def test_a_process_that_is_always_late_is_not_late_once(
    times: tuple[float, ...], *, is_late_once: bool
) -> None:
    assert done_at(*times).is_late_once is is_late_once


def test_after_the_end_nothing_is_due_whatever_comes() -> None:
    housekeeping = done_at(0.5)
    housekeeping.stop()
    assert housekeeping.at == NEVER
    housekeeping.do_by(0.7)
    housekeeping.done(0.8, is_idle=False)
    housekeeping.start(0.9)
    assert (housekeeping.at, housekeeping.early) == (NEVER, NEVER)
