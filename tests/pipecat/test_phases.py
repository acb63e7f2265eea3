"""One answer per turn at any phase of the framework's clocks, on a busy event loop."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.test_order_property import busy_loop
from tests.pipecat.wire import START, Pause, Play, eager, end, update

pytestmark = pytest.mark.real_clock("an event loop that is blocked is late by the machine's clock")

# The framework's own strategy looks at its turn this long after the last final, again and again.
TICK = 0.5


def turns(pauses: list[float], *, speculate: bool) -> Play:
    """Turns that end so many seconds after the final of the one before."""
    play: list[Any] = []
    for number, pause in enumerate(pauses):
        words = f"turn {number}"
        middle: Play = [eager(words)] if speculate else []
        play += [Pause(pause / 4), START, update(words), *middle, Pause(pause * 3 / 4)]
        play.append(end(words))
    return play


async def answers(pauses: list[float], block: float, *, speculate: bool) -> list[str]:
    """What the bot says to turns, on an event loop that is blocked again and again."""

    def make(url: str) -> InkTurnsSTTService:
        return ours(url, enable_eager_end_of_turn=speculate)

    async with talk_to(turns(pauses, speculate=speculate), make) as (talk, server):
        async with busy_loop(block):
            await talk.hear()
            await server.played.wait()
        await talk.quiet()
        assert talk.user_messages == [f"turn {n}" for n in range(len(pauses))]
        return list(talk.voice.spoken)


def check(spoken: list[str], count: int, why: str = "") -> None:
    """No answer twice; one that the next turn has cut off may be missing."""
    expected = [f"re: turn {n}." for n in range(count)]
    assert spoken == [answer for answer in expected if answer in spoken], why
    assert spoken[-1] == expected[-1], why


@pytest.mark.parametrize("speculate", [False, True])
async def test_turns_that_end_on_the_tick(speculate: bool) -> None:
    lines = [[k * TICK + 0.002 * line for k in (1, 2, 1)] for line in range(-4, 4)]
    results = await asyncio.gather(*(answers(p, 0.005, speculate=speculate) for p in lines))
    for spoken in results:
        check(spoken, 3)


async def test_turns_that_end_at_any_phase() -> None:
    seed = time.time_ns()
    chance = random.Random(seed)
    lines = [[chance.uniform(0.0, 2 * TICK) for _ in range(5)] for _ in range(5)]
    results = await asyncio.gather(*(answers(p, 0.002, speculate=True) for p in lines))
    for spoken in results:
        check(spoken, 5, f"seed {seed}")
