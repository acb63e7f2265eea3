"""A call goes on as if nothing had happened: in the plain client, in Pipecat and in LiveKit."""

from __future__ import annotations

import asyncio

import pytest

from tests.outages.calls import OURS
from tests.outages.scenarios import CALLER, SCENARIOS, Scenario

_IN_SUITE = [scenario for scenario in SCENARIOS if not scenario.slow]


@pytest.mark.parametrize("scenario", _IN_SUITE, ids=lambda scenario: scenario.name)
async def test_every_word_comes_once_in_turns_that_are_whole(scenario: Scenario) -> None:
    outcomes = await asyncio.gather(*(call(scenario) for call in OURS.values()))
    for side, outcome in zip(OURS, outcomes, strict=True):
        assert outcome.finals == CALLER.transcripts, side
        assert outcome.starts == len(CALLER.turns), side
