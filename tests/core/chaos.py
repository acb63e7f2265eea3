"""Random conversations on a network that breaks, each made from one seed.

    python -m tests.core.chaos 409        # replay one seed and print what happened
    python -m tests.core.chaos 0 1000     # look for a seed that fails
    python -m tests.core.chaos 0 1000 long

Scripts stand on the clock of the audio: lost audio is lost words, and audio sent twice is words
said twice. So the turns that come out must be those of the script, whatever the network did.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.world import (
    Away,
    Closing,
    Fault,
    Flapping,
    HalfOpen,
    Hung,
    Mute,
    Refusing,
    Reset,
    World,
    check_order,
)

WORDS = ("book", "a", "table", "for", "two", "people", "please", "tomorrow", "at", "seven", "name")
TAIL = 30.0
MOST_MUTE = 2
MAX_REDIALS_IN_10_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """What one seed makes."""

    seed: int
    script: Script
    faults: tuple[Fault, ...]
    latency: float
    jitter: float = 0.0

    def run(self, resilience: Resilience | None = None) -> World:
        """Let the conversation happen."""
        world = World(
            self.script,
            self.faults,
            resilience=resilience or Resilience(),
            latency=self.latency,
            jitter=self.jitter,
            tail=TAIL,
            seed=self.seed,
        )
        return world.run()


def case(seed: int) -> Case:
    """Make the conversation of a seed: 2 to 5 turns, 1 to 4 faults.

    At most two servers fall silent: when three in a row say nothing about the same sound, they are
    believed, and it was noise.
    """
    rng = random.Random(seed)
    script = _script(rng)
    faults: list[Fault] = []
    while len(faults) < rng.randint(1, 4):
        fault = _fault(rng, rng.uniform(0, script.seconds))
        if not isinstance(fault, Mute) or sum(isinstance(f, Mute) for f in faults) < MOST_MUTE:
            faults.append(fault)
    latency = rng.choice([0.01, 0.04, 0.15])
    return Case(seed, script, tuple(sorted(faults, key=lambda fault: fault.at)), latency)


def mute_case(seed: int) -> Case:
    """The conversation of a seed, in which two servers in a row fall silent on the same sound."""
    made, rng = case(seed), random.Random(seed)
    at = rng.uniform(0, made.script.seconds)
    return replace(made, faults=(Mute(at), Mute(at + rng.uniform(5.2, 9.0))))


def long_case(seed: int) -> Case:
    """A long turn without a pause, of few different words, between two short ones.

    Its replay is a short one, whose overlap is hard to find where words are repeated.
    """
    rng = random.Random(seed)
    vocabulary = rng.sample(WORDS, rng.randint(2, len(WORDS)))
    parts: list[str | float] = []
    for _ in range(rng.randint(1, 3)):
        parts += [" ".join(rng.choices(vocabulary, k=rng.randint(20, 60))), rng.uniform(0.32, 0.7)]
    script = Script(
        Turn("hello there", after=1.5),
        Turn(parts[:-1], after=rng.uniform(1.3, 2.5), eager=rng.random() < 0.5),
        Turn("good bye"),
    )
    start, end = script.spans[1]
    times = sorted(rng.uniform(start + 1.0, end + 0.5) for _ in range(rng.randint(1, 3)))
    faults = tuple(_fault(rng, at) for at in times)
    faults = tuple(fault for fault in faults if not isinstance(fault, Mute))
    return Case(seed, script, faults, rng.choice([0.01, 0.04, 0.15]))


KINDS: dict[str, Callable[[int], Case]] = {
    "plain": case,
    "mute": mute_case,
    "long": long_case,
}
"""The kinds of conversations, by the name that the command line takes."""


def check(case: Case, world: World) -> None:
    """Every promise that can be told from outside."""
    check_order(world.events)
    assert world.finals == case.script.transcripts, "words lost, said twice, or a turn cut"
    accounts = world.session.sender.counts
    assert accounts.received == accounts.sent, "audio was handed in and never sent"
    assert accounts.lost == 0
    assert world.session.is_closed, "finish() did not end"
    assert world.largest_buffer <= world.options.format.size(60.0) + 10_000
    for at in world.dials:
        near = [dial for dial in world.dials if at <= dial < at + 10.0]
        assert len(near) <= MAX_REDIALS_IN_10_SECONDS, "dials too often"


def _script(rng: random.Random) -> Script:
    turns = []
    number = 0
    for _ in range(rng.randint(2, 5)):
        parts: list[str | float] = []
        for _ in range(rng.randint(1, 3)):
            words = []
            for _ in range(rng.randint(1, 6)):
                number += 1
                words.append(f"{rng.choice(WORDS)}{number}")
            parts += [" ".join(words), rng.uniform(0.35, 0.75)]
        after = rng.uniform(1.3, 2.5)
        turns.append(Turn(parts[:-1], after=after, eager=rng.random() < 0.85))
    return Script(*turns)


def _fault(rng: random.Random, at: float) -> Fault:
    kinds: list[Callable[[], Fault]] = [
        lambda: Reset(at),
        lambda: Away(at, rng.choice([0.3, 1.0, 3.0, 8.0])),
        lambda: Hung(at, rng.choice([1.0, 4.0])),
        lambda: Refusing(
            at, rng.choice([0.5, 3.0]), rng.choice([429, 500, 503]), rng.choice([None, 0.5, 2.0])
        ),
        lambda: HalfOpen(at),
        lambda: Mute(at),
        lambda: Closing(
            at, rng.choice([1000, 1001, 1005, 1011, 1012, 1013]), rng.choice([None, 500])
        ),
        lambda: Flapping(at, rng.randint(1, 4), rng.uniform(0.2, 0.9)),
    ]
    return rng.choice(kinds)()


def main(arguments: list[str]) -> int:
    """Replay one seed, or search a range of them."""
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    make = KINDS[next((a for a in arguments if not a.isdigit()), "plain")]
    first, last = numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] + 1
    failed = 0
    for seed in range(first, last):
        made = make(seed)
        world = made.run()
        try:
            check(made, world)
        except AssertionError as error:
            failed += 1
            sys.stdout.write(f"seed {seed}: {error}\n")
        if last - first == 1:
            sys.stdout.write(f"{made}\n")
            sys.stdout.writelines(f"{at:8.2f} {event}\n" for at, event in world.history)
            sys.stdout.write(f"wanted {made.script.transcripts}\nheard  {world.finals}\n")
    sys.stdout.write(f"{failed} of {last - first} seeds failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
