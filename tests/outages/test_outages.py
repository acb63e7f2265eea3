"""A call goes on as if nothing had happened: in the plain client, in Pipecat and in LiveKit."""

from __future__ import annotations

import asyncio

import pytest

from tests.outages.calls import OURS, Client, call
from tests.outages.scenarios import CALLER, CROWD, SCENARIOS, Scenario, busy

IN_SUITE = [scenario for scenario in SCENARIOS if not scenario.slow]
_HANDSHAKE_IS_GIVEN_UP = 5.0

each_scenario = pytest.mark.parametrize("scenario", IN_SUITE, ids=lambda scenario: scenario.name)


@each_scenario
async def test_every_word_comes_once_in_turns_that_are_whole(scenario: Scenario) -> None:
    outcomes = await asyncio.gather(*(call(scenario, client) for client in OURS.values()))
    for side, outcome in zip(OURS, outcomes, strict=True):
        assert outcome.crash is None, side
        assert outcome.finals == CALLER.transcripts, side
        assert outcome.starts == len(CALLER.turns), side
        assert outcome.ready_at is not None
        assert outcome.ready_at < _HANDSHAKE_IS_GIVEN_UP / 2, f"{side} waited for the server"
        if scenario.muted:
            assert outcome.told == [], side
            assert len(outcome.dials) == 2, f"{side} was not closed for idleness"


@pytest.mark.parametrize(
    ("client", "size"), list(zip(OURS.values(), (CROWD, 10, 10), strict=True)), ids=OURS
)
async def test_a_crowd_that_was_refused_does_not_come_back_in_one_instant(
    client: Client, size: int
) -> None:
    # Each with a server of its own: on a busy machine some begin when others are back already.
    outcomes = await asyncio.gather(*(call(busy(1), client) for _ in range(size)))
    waits = [outcome.dials[1] - outcome.dials[0] for outcome in outcomes]
    # Told to wait for a second, each waits for that and up to half a second more, by chance.
    assert min(waits) >= 1.0
    assert max(waits) - min(waits) >= 0.1
    assert all(outcome.finals == outcome.wanted for outcome in outcomes)
