"""What counts as a false cut-off, a delay, a lead; and that the two parts share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.end_of_turn_material import Clip, Sound
from benchmarks.end_of_turn_measure import figures, outcome
from benchmarks.end_of_turn_script import Kind, Part, Turn, turns
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
)

CLIP = Clip(
    Turn(Part.REPORT, Kind.SENTENCE, ("one two", "three", "four")),
    "nobody",
    Sound.CLEAN,
    np.zeros(16_000, np.float32),
    ((1.0, 2.0), (2.5, 3.0), (4.0, 5.0)),
)
WHOLE: list[tuple[float, TurnEvent]] = [
    (1.2, TurnStart()),
    (3.4, TurnEagerEnd("one two three")),
    (4.1, TurnResume()),
    (5.3, TurnEagerEnd("one two three four")),
    (5.5, TurnEnd("one two three four")),
]


def test_a_turn_that_is_not_cut() -> None:
    found = outcome(CLIP, WHOLE)
    assert found.cuts == (False, False)
    assert found.delay == pytest.approx(0.5)
    assert found.eager == pytest.approx(0.3)
    assert (found.eager_ends, found.withdrawn, found.errors) == (2, 1, 0)
    assert found.start == pytest.approx(0.2)


@pytest.mark.parametrize(("at", "cuts"), [(2.1, (True, False)), (2.9, (True, False)),
                                          (3.1, (False, True)), (4.5, (False, True))])  # fmt: skip
def test_a_cut_belongs_to_the_newest_pause_before_it(at: float, cuts: tuple[bool, bool]) -> None:
    assert outcome(CLIP, sorted([*WHOLE, (at, TurnEnd(""))], key=lambda e: e[0])).cuts == cuts


def test_the_figures_of_some_turns() -> None:
    cut = outcome(CLIP, [(1.3, TurnStart()), (2.3, TurnEnd("one")), (6.0, TurnEnd(" four"))])
    summed = figures([outcome(CLIP, WHOLE), cut])
    assert (summed.turns, summed.pauses, summed.missed) == (2, 4, 0)
    assert summed.cut_offs == pytest.approx(25.0)
    assert summed.short_cut_offs == pytest.approx(50.0)
    assert summed.mean == pytest.approx(0.75)
    assert summed.leads == pytest.approx(50.0)
    assert summed.withdrawn == pytest.approx(50.0)
    assert summed.word_errors == pytest.approx(25.0)


def test_a_turn_without_an_end_is_missed() -> None:
    assert figures([outcome(CLIP, [])]).missed == 1


def test_no_line_is_both_tuned_on_and_reported() -> None:
    parts = [{turn.pieces for turn in turns(part)} for part in Part]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert {turn.kind for turn in turns(Part.REPORT)} == set(Kind)
