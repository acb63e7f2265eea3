"""Random conversations on a network that breaks, each made from one seed.

    python -m tests.core.chaos 409        # replay one seed and print what happened
    python -m tests.core.chaos 0 1000     # look for a seed that fails
    python -m tests.core.chaos 0 1000 hard       # another kind of conversation: see `KINDS`
    python -m tests.core.chaos 0 1000 late 2.5   # messages are up to so many seconds late

Scripts stand on the clock of the audio: lost audio is lost words, and audio sent twice is words
said twice. So the turns that come out must be those of the script, whatever the network did.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate

from cartesia_ink_plugins.core.events import AudioGap, Connected
from cartesia_ink_plugins.core.options import Resilience, TurnSettings
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.core.world import (
    FRAME,
    Away,
    Blocked,
    Change,
    Closing,
    Fault,
    Flapping,
    HalfOpen,
    Hung,
    Mute,
    Poison,
    Refusing,
    Reset,
    Stall,
    World,
    check_order,
)

WORDS = ("book", "a", "table", "for", "two", "people", "please", "tomorrow", "at", "seven", "name")
TAIL = 30.0
LONG_TAIL = 60.0
MOST_MUTE = 2
# What may stand between us and the API, and the API itself, answer an attempt to connect with.
STATUSES = (400, 401, 402, 403, 404, 407, 408, 409, 418, 421, 425, 429, 500, 502, 503, 504)
MAX_DEATHS = 8  # of one piece of audio, before it is given up
MAX_REDIALS_IN_10_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """What one seed makes."""

    seed: int
    script: Script
    faults: tuple[Fault, ...]
    latency: float
    jitter: float = 0.0
    chunk: float = FRAME
    tail: float = TAIL
    resilience: Resilience = field(default_factory=Resilience)

    def run(self) -> World:
        """Let the conversation happen."""
        world = World(
            self.script,
            self.faults,
            resilience=self.resilience,
            latency=self.latency,
            jitter=self.jitter,
            chunk=self.chunk,
            tail=self.tail,
            seed=self.seed,
        )
        return world.run()


def case(seed: int) -> Case:
    """Make the conversation of a seed: 2 to 5 turns, 1 to 4 faults.

    At most two servers fall silent: `mute_case` has more.
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
    """Two or three servers in a row say nothing; when four did, the buffer would overflow."""
    made, rng = case(seed), random.Random(seed)
    at = rng.uniform(0, made.script.seconds)
    fault = Mute(at, times=rng.choice([2, 3]))
    return replace(made, faults=(fault,), tail=LONG_TAIL)


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


def late_case(seed: int) -> Case:
    """Messages are late, the network stalls, and a turn loses its connection twice."""
    rng = random.Random(seed)
    script = _script(rng)
    faults: list[Fault] = []
    start, end = rng.choice(script.spans)
    faults += [Reset(rng.uniform(start, end + 1.0)) for _ in range(2)]
    if rng.random() < 0.5:
        faults.append(Stall(rng.uniform(0, script.seconds), rng.uniform(0.3, 2.0)))
    faults.sort(key=lambda fault: fault.at)
    latency, jitter = rng.choice([0.01, 0.04, 0.15]), rng.choice([0.5, 1.0, 1.5, 2.0, 3.0])
    return Case(seed, script, tuple(faults), latency, jitter)


def hard_case(seed: int) -> Case:
    """All that may happen at one time: server, network, process and application are odd."""
    rng = random.Random(seed)
    timing = ScriptTiming(
        start_delay=rng.choice([0.05, 0.15, 0.5, 1.0]),
        end_delay=rng.choice([0.8, 0.8, 1.2, 2.5]),
        word_delay=rng.choice([0.0, 0.0, 0.2, 0.6]),
        eager_has_all=rng.random() < 0.5,
        update_after_eager=rng.random() < 0.5,
    )
    script = _script(rng, timing)
    faults: list[Fault] = []
    for _ in range(rng.randint(1, 4)):
        at = rng.uniform(0, script.seconds)
        faults.append(_fault(rng, at, hard=True))
        if rng.random() < 0.3:  # and another one while the next connection is made
            faults.append(_fault(rng, at + rng.uniform(0.0, 0.4), hard=True))
    faults = [f for f in faults if not isinstance(f, Mute)]
    faults += [Mute(rng.uniform(0, script.seconds)) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.4:
        at, changes = rng.uniform(0, script.seconds), TurnSettings(turn_start_threshold=0.8)
        faults.append(Change(at, turn=changes))
    if rng.random() < 0.4:
        faults.append(Change(rng.uniform(0, script.seconds), keyterms=("Cartesia",)))
    faults.sort(key=lambda fault: fault.at)
    return Case(
        seed,
        script,
        tuple(faults),
        latency=rng.choice([0.01, 0.04, 0.15]),
        jitter=rng.uniform(0.0, 3.0),
        chunk=rng.choice([0.01, 0.02, 0.05, 0.1, 0.25, 1.0]),
        resilience=Resilience(
            connect_timeout=rng.choice([2.0, 5.0, 10.0]),
            stall_timeout=rng.choice([4.0, 5.0, 8.0]),
            catch_up_rate=rng.choice([1.5, 2.0, 3.0]),
            idle=rng.choice(["reconnect", "silence"]),
            min_message_seconds=rng.choice([0.0, 0.0, 0.06, 0.1]),
        ),
    )


def slow_case(seed: int) -> Case:
    """A server that takes long: to announce a turn, to send its words, to end it."""
    rng = random.Random(seed)
    timing = ScriptTiming(
        start_delay=rng.uniform(1.0, 5.0),
        end_delay=rng.choice([0.8, 1.5, 3.0]),
        word_delay=rng.uniform(0.0, 1.5),
        eager_has_all=False,
        update_after_eager=rng.random() < 0.7,
    )
    script = _script(rng, timing)
    times = sorted(rng.uniform(0, script.seconds) for _ in range(rng.randint(1, 3)))
    faults = tuple(fault for at in times if not isinstance(fault := _fault(rng, at), Mute))
    return Case(seed, script, faults, rng.choice([0.01, 0.04, 0.15]), rng.choice([0.0, 1.0]))


def poison_case(seed: int) -> Case:
    """Every server dies of some audio of one turn."""
    rng = random.Random(seed)
    script = _script(rng)
    start, end = rng.choice(script.spans)
    faults = (Poison(rng.uniform(start, end)),)
    return Case(seed, script, faults, rng.choice([0.01, 0.04, 0.15]))


KINDS: dict[str, Callable[[int], Case]] = {
    "plain": case,
    "mute": mute_case,
    "long": long_case,
    "late": late_case,
    "hard": hard_case,
    "slow": slow_case,
    "poison": poison_case,
}
"""The kinds of conversations, by the name that the command line takes."""


def check(case: Case, world: World) -> None:
    """Every promise that can be told from outside."""
    check_order(world.events)
    if not any(isinstance(event, Connected) for event in world.events):
        assert world.session.rejection is not None  # at once, because nothing was accepted before
        return
    accounts = world.session.sender.counts
    assert accounts.received == accounts.sent + accounts.lost, "audio was never sent"
    if any(isinstance(fault, Poison) for fault in case.faults):
        _check_poison(case, world)
    else:
        heard, said = world.finals, case.script.transcripts
        silent = max((f.times for f in case.faults if isinstance(f, Mute)), default=0)
        if not case.script.timing.eager_has_all or silent > MOST_MUTE:
            # Without a connection, or with servers that say nothing, a turn ends with the known
            # text. The words that it lacked are then a turn of their own.
            assert "".join(heard) == "".join(said), "words lost, or said twice"
            heard = [text for text in accumulate(heard) if text in set(accumulate(said))]
            said = list(accumulate(said))
        assert heard == said, "words lost, said twice, or a turn cut"
        assert accounts.lost == 0
    assert world.session.is_closed, "finish() did not end"
    assert world.largest_buffer <= world.options.format.size(60.0) + 10_000
    for at in world.dials:
        near = [dial for dial in world.dials if at <= dial < at + 10.0]
        assert len(near) <= MAX_REDIALS_IN_10_SECONDS, "dials too often"


def _check_poison(case: Case, world: World) -> None:
    """What is lost is in the gap, and the call goes on behind it."""
    gaps = [event for event in world.events if isinstance(event, AudioGap)]
    lost = world.session.sender.format.seconds(world.session.sender.counts.lost)
    assert abs(sum(gap.seconds for gap in gaps) - lost) < 0.001, "lost, and not told"
    said = [word for text in case.script.transcripts for word in text.split()]
    heard = [word for text in world.finals for word in text.split()]
    rest = iter(said)
    assert all(word in rest for word in heard), "said twice, or out of order"
    [poison] = [fault for fault in case.faults if isinstance(fault, Poison)]
    behind = [
        text.strip()
        for (start, _), text in zip(case.script.spans, case.script.transcripts, strict=True)
        if start > poison.at
    ]
    finals = [text.strip() for text in world.finals]
    assert not behind or finals[-len(behind) :] == behind, "the call did not go on"
    assert len(world.deaths) <= MAX_DEATHS


def _script(rng: random.Random, timing: ScriptTiming | None = None) -> Script:
    """Two to five turns of words that are all different, with pauses that end none of them."""
    timing = timing or ScriptTiming()
    slow = max(0.0, timing.end_delay - 0.8) + max(0.0, timing.start_delay - 0.15)
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
        after = rng.uniform(1.3, 2.5) + slow
        turns.append(Turn(parts[:-1], after=after, eager=rng.random() < 0.85))
    return Script(*turns, timing=timing)


def _fault(rng: random.Random, at: float, *, hard: bool = False) -> Fault:
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
    if hard:
        kinds += [
            lambda: Refusing(at, rng.choice([0.5, 3.0]), rng.choice(STATUSES)),
            lambda: Flapping(at, rng.randint(1, 9), rng.uniform(0.2, 0.9)),
            lambda: Stall(at, rng.uniform(0.3, 2.0)),
            lambda: Blocked(at, rng.uniform(0.2, 6.0)),
        ]
    return rng.choice(kinds)()


def main(arguments: list[str]) -> int:
    """Replay one seed, or search a range of them."""
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    make = KINDS[next((a for a in arguments if a.isalpha()), "plain")]
    jitter = next((float(a) for a in arguments if "." in a), None)
    first, last = numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] + 1
    failed = 0
    for seed in range(first, last):
        made = make(seed)
        made = made if jitter is None else replace(made, jitter=jitter)
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
