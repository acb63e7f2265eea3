"""Random callers, random cuts, random outages: every word comes once, whole and in order."""

from __future__ import annotations

import random

import pytest

from cartesia_ink_plugins.core.events import AudioGap, Final
from cartesia_ink_plugins.core.options import ManualOptions
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.core.manual_world import ManualWorld

SEEDS = range(80)


def caller(chance: random.Random) -> Script:
    """A script of numbered words, which the server breaks where chance will."""
    turns: list[Turn] = []
    said = 0
    for _ in range(chance.randint(1, 5)):
        count = chance.randint(1, 6)
        words = " ".join(f"w{said + n}" for n in range(count))
        turns.append(Turn(f"{words}.", after=chance.choice([0.6, 1.2, 2.5, 4.0])))
        said += count
    timing = ScriptTiming(
        delta_sizes=tuple(chance.randint(1, 12) for _ in range(chance.randint(1, 5))),
        finalize_after=chance.choice([1.0, 2.0, 50.0]),
    )
    return Script(*turns, timing=timing)


def world_of(seed: int) -> ManualWorld:
    """A call with everything that may go wrong in it."""
    chance = random.Random(seed)
    script = caller(chance)
    options = ManualOptions(model=chance.choice(["ink-2", "ink-2", "ink-whisper"]))
    world = ManualWorld(script, options, latency=chance.choice([0.005, 0.04, 0.15]))
    for _ in range(chance.randint(0, 5)):
        world.at(chance.uniform(0.05, script.seconds + 0.3), world.cut)
    if chance.random() < 0.4:
        begin = chance.uniform(0.1, script.seconds)
        world.away = (begin, begin + chance.uniform(0.2, 3.0))
        world.at(begin, world.cut)
    for _ in range(chance.randint(0, 3)):
        _, end = chance.choice(script.spans)
        world.at(end + 0.05 + chance.uniform(0, 0.4), world.finalize)
    world.run(finalize=chance.random() < 0.8)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_every_word_comes_once_whole_and_in_order(seed: int) -> None:
    world = world_of(seed)
    assert "".join(world.finals) == "".join(world.script.transcripts)
    words = {word for text in world.script.transcripts for word in text.split()}
    for text in [*world.interims, *world.finals]:
        assert set(text.split()) <= words, f"{text!r} has a broken word"
    assert not any(isinstance(event, AudioGap) for event in world.events)
    accounts = world.session.sender.counts
    assert accounts.received == accounts.sent + accounts.lost
    assert world.session.is_closed
    numbers = [e.timing.turn for e in world.events if isinstance(e, Final) and e.timing]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_same_seed_has_the_same_history() -> None:
    assert world_of(7).history == world_of(7).history
