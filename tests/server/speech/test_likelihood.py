"""One likelihood, three thresholds, one timeout: what they mean, without any model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.turn_table import TurnState
from cartesia_ink_plugins.server.engine import TurnThresholds
from cartesia_ink_plugins.server.speech.likelihood import (
    STEP_SECONDS,
    Decision,
    Likelihood,
    decide,
    patience,
)

CERTAIN, OPEN = 0.95, 0.1
chances = st.floats(0.0, 1.0)


def spoken(seconds: float = 1.0) -> Likelihood:
    likelihood = Likelihood()
    for _ in range(round(seconds / STEP_SECONDS)):
        likelihood.step(1.0)
    likelihood.begin()
    return likelihood


def pause_until(likelihood: Likelihood, threshold: float, final: float) -> float:
    """How long a pause must be for the likelihood to fall below the threshold."""
    while likelihood.value >= threshold:
        likelihood.step(0.0)
        likelihood.judge(final)
        assert likelihood.pause < 60
    return likelihood.pause


def test_speech_raises_it_above_the_default_start_within_200_ms() -> None:
    likelihood = Likelihood()
    for _ in range(round(0.2 / STEP_SECONDS)):
        likelihood.step(1.0)
    assert likelihood.value > TurnThresholds().start


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_a_click_raises_it_above_no_threshold(threshold: float) -> None:
    likelihood = Likelihood()
    for chance in (0.0, 1.0, 0.0, 0.0, 0.0):
        likelihood.step(chance)
        assert likelihood.value < threshold


def test_a_higher_start_is_met_later() -> None:
    def steps_until(threshold: float) -> int:
        likelihood, steps = Likelihood(), 0
        while likelihood.value <= threshold:
            likelihood.step(1.0)
            steps += 1
        return steps

    assert steps_until(0.5) < steps_until(0.8) <= steps_until(0.9)


@settings(deadline=None)
@given(chances, st.floats(0.05, 0.75), st.floats(0.05, 0.75))
def test_a_higher_threshold_is_met_no_later(final: float, one: float, other: float) -> None:
    higher, lower = max(one, other), min(one, other)
    assert pause_until(spoken(), higher, final) <= pause_until(spoken(), lower, final)


@given(chances, chances)
def test_the_more_final_it_sounds_the_shorter_the_pause(one: float, other: float) -> None:
    assert patience(max(one, other)) <= patience(min(one, other))


def test_a_whole_sentence_ends_soon_and_an_open_one_late() -> None:
    end = TurnThresholds().end
    assert pause_until(spoken(), end, CERTAIN) < 0.55
    assert pause_until(spoken(), end, OPEN) > 1.3


@pytest.mark.parametrize("final", [0.0, 0.3, 0.5, 0.61])
def test_what_may_go_on_is_not_cut_by_a_pause_of_less_than_800_ms(final: float) -> None:
    assert pause_until(spoken(), TurnThresholds().end, final) >= 0.8


def test_what_is_most_likely_an_answer_waits_less_than_what_may_go_on() -> None:
    assert 0.4 < pause_until(spoken(), TurnThresholds().end, 0.75) < 0.55
    assert 0.7 < pause_until(spoken(), TurnThresholds().end, 0.6) < 0.85


@pytest.mark.parametrize("final", [0.7, CERTAIN])
def test_the_eager_end_leads_the_end(final: float) -> None:
    limits = TurnThresholds()
    eager = pause_until(spoken(), limits.eager_end, final)
    assert pause_until(spoken(), limits.end, final) - eager > 0.15


def test_an_eager_end_that_is_most_likely_none_comes_late() -> None:
    limits = TurnThresholds()
    eager = pause_until(spoken(), limits.eager_end, OPEN)
    assert eager > 0.9
    assert 0.25 < pause_until(spoken(), limits.end, OPEN) - eager < 0.6


def test_it_does_not_fall_while_nobody_has_judged_the_pause() -> None:
    likelihood = spoken()
    for _ in range(100):
        likelihood.step(0.0)
    assert likelihood.value == 1.0


def test_a_click_in_a_pause_does_not_end_the_pause_but_speech_does() -> None:
    likelihood = spoken()
    pause_until(likelihood, 0.5, CERTAIN)
    fallen = likelihood.pause
    likelihood.step(1.0)
    likelihood.step(0.0)
    assert likelihood.pause > fallen
    for _ in range(4):
        likelihood.step(1.0)
    assert likelihood.pause == 0
    assert likelihood.value == 1.0


def test_the_onset_is_where_speech_began_not_where_it_was_noticed() -> None:
    likelihood = Likelihood()
    for _ in range(50):
        likelihood.step(0.01)
    for _ in range(10):
        likelihood.step(1.0)
    assert likelihood.onset == pytest.approx(50 * STEP_SECONDS)


def test_after_a_turn_it_must_rise_again() -> None:
    likelihood = spoken()
    pause_until(likelihood, 0.3, CERTAIN)
    likelihood.forget()
    assert likelihood.value < 0.01


def test_while_no_turn_is_open_it_is_nothing_but_the_voice() -> None:
    likelihood = spoken()
    likelihood.forget()
    for _ in range(10):
        likelihood.step(1.0)
    for _ in range(10):
        likelihood.step(0.0)
    assert likelihood.value < 0.01


@pytest.mark.parametrize(
    ("state", "likelihood", "quiet", "decision"),
    [
        (TurnState.IDLE, 0.81, 0.0, Decision.START),
        (TurnState.IDLE, 0.8, 0.0, None),
        (TurnState.IDLE, 0.0, 9.0, None),
        (TurnState.SPEAKING, 0.6, 0.0, None),
        (TurnState.SPEAKING, 0.59, 0.0, Decision.EAGER_END),
        (TurnState.SPEAKING, 0.29, 0.0, Decision.END),
        (TurnState.SPEAKING, 1.0, 5.6, Decision.END),
        (TurnState.SPEAKING, 1.0, 5.5, None),
        (TurnState.EAGER_ENDED, 0.59, 0.0, None),
        (TurnState.EAGER_ENDED, 0.7, 0.0, None),
        (TurnState.EAGER_ENDED, 0.81, 0.0, Decision.RESUME),
        (TurnState.EAGER_ENDED, 0.29, 0.0, Decision.END),
        (TurnState.EAGER_ENDED, 0.59, 5.6, Decision.END),
    ],
)
def test_what_the_thresholds_decide(
    state: TurnState, likelihood: float, quiet: float, decision: Decision | None
) -> None:
    assert decide(state, likelihood, quiet, TurnThresholds()) is decision
