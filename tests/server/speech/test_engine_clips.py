"""The measure itself: words, distances, delays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import engine_clips as bench
from benchmarks.engine_clips import Clip, Outcome, distance, words_of
from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnStart, TurnUpdate

NOTHING = np.zeros(16_000, np.float32)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2:30 PM.", "two thirty p m"),
        ("At 7 p.m., please!", "at seven p m please"),
        ("Mr. John isn't ill-disposed", "mister john isn't ill disposed"),
        ("And so am I, OK?", "and so am i okay"),
        ("21 people, 105 rooms, 2026", "twenty one people one hundred five rooms two thousand "
         "twenty six"),
        ("Uh, let's, um, go.", "let's go"),
        ("", ""),
    ],
)  # fmt: skip
def test_words_are_compared_as_they_are_spoken(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("wanted", "got", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b", "a x", 1),
        ("a b c", "a c", 1),
        ("a", "a b c", 2),
        ("", "a", 1),
    ],
)
def test_errors_are_changes_additions_and_omissions(wanted: str, got: str, errors: int) -> None:
    assert distance(wanted.split(), got.split()) == errors


def test_delays_are_counted_from_where_speech_begins_and_ends() -> None:
    outcome = Outcome(Clip("", NOTHING, None))
    outcome.events = [
        (1.2, TurnStart()),
        (1.3, TurnUpdate("")),
        (1.9, TurnUpdate("o")),
        (2.4, TurnUpdate("one")),
        (4.5, TurnEnd("one")),
        (6.3, TurnStart()),
        (8.0, TurnEnd(" two")),
    ]
    delays = outcome.delays([(1.0, 2.0), (2.5, 4.0), (6.0, 7.0)])
    assert delays.starts == pytest.approx([0.2, 0.3])
    assert delays.words == pytest.approx([0.9, 2.0])
    assert delays.ends == pytest.approx([0.5, 1.0])
    assert outcome.text == "one two"


def test_text_that_is_taken_back_is_counted() -> None:
    outcome = Outcome(Clip("", NOTHING, None))
    outcome.events = [
        (1, TurnStart()),
        (2, TurnUpdate("one")),
        (3, TurnEagerEnd("one two")),
        (4, TurnEnd("one three")),
        (5, TurnStart()),
        (6, TurnEnd(" x")),
    ]
    assert outcome.revised == 1


def test_the_edges_of_speech_are_where_the_level_is() -> None:
    samples = np.full(32_000, 1e-5, np.float32)
    samples[8_000:16_000] = 0.5

    def voice(window: Samples) -> float:
        return float(window.max() > 0.1)

    [(begin, end)] = bench.stretches(Clip("", samples, None), voice)
    assert (begin, end) == pytest.approx((0.5, 1.0), abs=0.02)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recordings"):
        bench.load(tmp_path)
