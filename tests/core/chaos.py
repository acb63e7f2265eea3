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
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TypeAlias

from cartesia_ink_plugins.core.events import AudioGap, Connected
from cartesia_ink_plugins.core.options import Resilience, TurnSettings
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    CloseAll,
    Fault,
    HalfOpen,
    Outage,
    Reset,
    Say,
    Silence,
)
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.core.world import (
    FRAME,
    Blocked,
    Change,
    Clock,
    Poison,
    Stall,
    Timed,
    Trouble,
    World,
    check_order,
    flapping,
    refusals,
    silences,
)
from tests.random_faults import random_faults

WORDS = ("book", "a", "table", "for", "two", "people", "please", "tomorrow", "at", "seven", "name")
TAIL = 30.0
LONG_TAIL = 60.0
HANG_UP_AFTER = 6.0  # seconds of silence behind the script and the last fault
MOST_SILENT = 2  # servers in a row that say nothing, and cost no turn
# What may stand between us and the API, and the API itself, answer an attempt to connect with.
STATUSES = (400, 401, 402, 403, 404, 407, 408, 409, 418, 421, 425, 429, 500, 502, 503, 504)
LATENCIES = (0.01, 0.04, 0.15)  # seconds
PIECES = (0.01, 0.02, 0.02, 0.05, 0.1, 0.25, 1.0)  # seconds of audio in one `send_audio`
MAX_DEATHS = 8  # of one piece of audio, before it is given up
MAX_REDIALS_IN_10_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One call of what one seed makes."""

    seed: int
    script: Script
    faults: tuple[Trouble, ...]
    latency: float
    jitter: float = 0.0
    chunk: float = FRAME
    tail: float = TAIL
    resilience: Resilience = field(default_factory=Resilience)
    begins_at: float = 0.0
    most_accepted: int | None = None  # connections that the server accepts within a second

    def run(self) -> World:
        """Let the conversation happen."""
        [world] = play([self])
        return world


def play(cases: Sequence[Case]) -> list[World]:
    """Let conversations happen in one process, at one time, with one server."""
    clock = Clock()
    accepted: deque[float] = deque()
    worlds = []
    for case in cases:
        world = World(
            case.script,
            case.faults,
            resilience=case.resilience,
            latency=case.latency,
            jitter=case.jitter,
            chunk=case.chunk,
            tail=case.tail,
            hang_up_after=HANG_UP_AFTER,
            seed=case.seed,
            clock=clock,
            most_accepted=case.most_accepted,
            accepted=accepted,
        )
        clock.at(case.begins_at, world, world.begin)
        worlds.append(world)
    clock.run(worlds, limit=600.0)
    return worlds


def case(seed: int) -> Case:
    """Make the conversation of a seed: 2 to 5 turns, 1 to 4 faults.

    At most two servers fall silent: `silent_case` has more.
    """
    rng = random.Random(seed)
    script = _script(rng)
    faults: list[Timed] = []
    for _ in range(rng.randint(1, 4)):
        faults += _fault(rng, rng.uniform(0, script.seconds))
    latency = rng.choice(LATENCIES)
    return Case(seed, script, _in_order(_few_silent(faults)), latency)


def silent_case(seed: int) -> Case:
    """Two or three servers in a row say nothing; when four did, the buffer would overflow."""
    made, rng = case(seed), random.Random(seed)
    faults = silences(rng.uniform(0, made.script.seconds), rng.choice([2, 3]))
    return replace(made, faults=faults, tail=LONG_TAIL)


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
    faults: list[Timed] = []
    for _ in range(rng.randint(1, 3)):
        faults += _fault(rng, rng.uniform(start + 1.0, end + 0.5))
    return Case(seed, script, _in_order(_few_silent(faults, most=0)), rng.choice(LATENCIES))


def late_case(seed: int) -> Case:
    """Messages are late, the network stalls, and a turn loses its connection twice."""
    rng = random.Random(seed)
    script = _script(rng)
    start, end = rng.choice(script.spans)
    faults = [Timed(rng.uniform(start, end + 1.0), Reset()) for _ in range(2)]
    if rng.random() < 0.5:
        faults.append(Timed(rng.uniform(0, script.seconds), Stall(rng.uniform(0.3, 2.0))))
    latency, jitter = rng.choice(LATENCIES), rng.choice([0.5, 1.0, 1.5, 2.0, 3.0])
    return Case(seed, script, _in_order(faults), latency, jitter)


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
    faults: list[Timed] = []
    for _ in range(rng.randint(1, 4)):
        at = rng.uniform(0, script.seconds)
        faults += _fault(rng, at)
        if rng.random() < 0.3:  # and another one while the next connection is made
            faults += _fault(rng, at + rng.uniform(0.0, 0.4))
    return Case(
        seed,
        script,
        _in_order([*_few_silent(faults), *_changes(rng, script)]),
        latency=rng.choice(LATENCIES),
        jitter=rng.uniform(0.0, 3.0),
        chunk=rng.choice(PIECES),
        resilience=_resilience(rng),
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
    faults: list[Timed] = []
    for _ in range(rng.randint(1, 3)):
        faults += _fault(rng, rng.uniform(0, script.seconds))
    faults = _few_silent(faults, most=0)
    latency, jitter = rng.choice(LATENCIES), rng.choice([0.0, 1.0])
    return Case(seed, script, _in_order(faults), latency, jitter)


def poison_case(seed: int) -> Case:
    """Every server dies of some audio of one turn."""
    rng = random.Random(seed)
    script = _script(rng)
    start, end = rng.choice(script.spans)
    faults = (Timed(rng.uniform(start, end), Poison()),)
    return Case(seed, script, faults, rng.choice(LATENCIES))


def phase_case(seed: int) -> Case:
    """Faults strike at phases of turns and at bytes, as they do over sockets."""
    rng = random.Random(seed)
    script = _script(rng)
    faults = random_faults(seed, seconds=script.seconds, count=rng.randint(1, 4))
    jitter, chunk = rng.choice([0.0, 0.0, 1.0, 3.0]), rng.choice(PIECES)
    return Case(seed, script, tuple(faults), rng.choice(LATENCIES), jitter, chunk)


def several_cases(seed: int) -> tuple[Case, ...]:
    """Two to four calls of one process at one time, and faults that hit all of them.

    When all come back, the server may accept only some in a second; the others are told to wait.
    """
    rng = random.Random(seed)
    count = rng.randint(2, 4)
    limit = rng.choice([None, 1, count])
    shared: list[Timed] = []
    for _ in range(rng.randint(1, 2)):
        at = rng.uniform(0.0, 12.0)
        seconds = rng.uniform(0.3, 6.0)
        actions: list[Action | Blocked | Stall] = [
            CloseAll(),
            Outage(seconds, rng.choice([0, -1, *STATUSES])),
            Blocked(seconds),
            Stall(seconds / 3),
        ]
        shared.append(Timed(at, rng.choice(actions)))
    cases = []
    for number in range(count):
        made = case(seed * 4 + number)
        begins_at = rng.uniform(0.0, 2.0)
        common = [replace(fault, at=fault.at - begins_at) for fault in shared]
        own = _few_silent(_fault(rng, rng.uniform(0, made.script.seconds)), most=1)
        faults = _in_order([fault for fault in (*common, *own) if fault.at > 0])
        cases.append(replace(made, faults=faults, begins_at=begins_at, most_accepted=limit))
    return tuple(cases)


Cases: TypeAlias = tuple[Case, ...]


def _alone(make: Callable[[int], Case]) -> Callable[[int], Cases]:
    """One call at a time."""
    return lambda seed: (make(seed),)


KINDS: dict[str, Callable[[int], Cases]] = {
    "plain": _alone(case),
    "silent": _alone(silent_case),
    "long": _alone(long_case),
    "late": _alone(late_case),
    "hard": _alone(hard_case),
    "slow": _alone(slow_case),
    "poison": _alone(poison_case),
    "phase": _alone(phase_case),
    "several": several_cases,
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
    if any(isinstance(fault, Timed) and isinstance(fault.action, Poison) for fault in case.faults):
        _check_poison(case, world)
    else:
        heard, said = world.finals, case.script.transcripts
        if not case.script.timing.eager_has_all or _silent(case.faults) > MOST_SILENT:
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


def check_all(cases: Cases) -> list[World]:
    """Let conversations happen; each must keep every promise."""
    worlds = play(cases)
    for case, world in zip(cases, worlds, strict=True):
        check(case, world)
    return worlds


def _check_poison(case: Case, world: World) -> None:
    """What is lost is in the gap, and the call goes on behind it."""
    gaps = [event for event in world.events if isinstance(event, AudioGap)]
    lost = world.session.sender.format.seconds(world.session.sender.counts.lost)
    assert abs(sum(gap.seconds for gap in gaps) - lost) < 0.001, "lost, and not told"
    said = [word for text in case.script.transcripts for word in text.split()]
    heard = [word for text in world.finals for word in text.split()]
    rest = iter(said)
    assert all(word in rest for word in heard), "said twice, or out of order"
    [poison] = [fault for fault in case.faults if isinstance(fault, Timed)]
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


def _fault(rng: random.Random, at: float) -> Sequence[Timed]:
    """Draw one thing that goes wrong at a time; some of them are several faults."""
    seconds = rng.choice([0.3, 0.5, 1.0, 3.0, 4.0, 8.0])
    code = rng.choice([1000, 1001, 1005, 1011, 1012, 1013])
    match rng.randrange(10):
        case 0:
            return [Timed(at, Reset())]
        case 1:
            return [Timed(at, Outage(seconds, rng.choice([0, -1])))]
        case 2:
            return [Timed(at, Outage(min(seconds, 3.0), rng.choice(STATUSES)))]
        case 3:
            status, wait = rng.choice([429, 503]), rng.choice([0.5, 2.0])
            return refusals(at, rng.randint(1, 3), status, wait)
        case 4:
            return [Timed(at, HalfOpen())]
        case 5:
            return [Timed(at, Silence())]
        case 6:
            ends: list[Action] = [Close(code), Say("fatal-500"), Say("error-500")]
            return [Timed(at, rng.choice(ends))]
        case 7:
            return flapping(at, rng.randint(1, 9), rng.uniform(0.2, 0.9))
        case 8:
            return [Timed(at, Stall(rng.uniform(0.3, 2.0)))]
        case _:
            return [Timed(at, Blocked(rng.uniform(0.2, 6.0)))]


def _changes(rng: random.Random, script: Script) -> list[Timed]:
    """What the application changes in mid-call; turns end as they would without it."""
    changes = []
    if rng.random() < 0.4:
        start, eager = rng.choice([0.7, 0.8, 0.9]), rng.choice([0.5, 0.6])
        turn = TurnSettings(turn_start_threshold=start, turn_eager_end_threshold=eager)
        changes.append(Timed(rng.uniform(0, script.seconds), Change(turn)))
    if rng.random() < 0.4:
        change = Change(keyterms=("Cartesia",))
        changes.append(Timed(rng.uniform(0, script.seconds), change))
    return changes


def _resilience(rng: random.Random) -> Resilience:
    return Resilience(
        connect_timeout=rng.choice([2.0, 5.0, 10.0]),
        stall_timeout=rng.choice([4.0, 5.0, 8.0]),
        catch_up_rate=rng.choice([1.5, 2.0, 3.0]),
        idle=rng.choice(["reconnect", "silence"]),
        min_message_seconds=rng.choice([0.0, 0.0, 0.06, 0.1]),
    )


def _few_silent(faults: Iterable[Timed], most: int = MOST_SILENT) -> list[Timed]:
    """Leave out what would let more servers fall silent."""
    kept: list[Timed] = []
    for fault in faults:
        if _silent([*kept, fault]) <= most:
            kept.append(fault)
    return kept


def _silent(faults: Iterable[Trouble]) -> int:
    """How many servers fall silent for good."""
    count = 0
    for fault in faults:
        match fault:
            case Timed(action=Silence(seconds=seconds)) if seconds == FOREVER:
                count += 1
            case Timed(action=Fault(Silence(seconds=seconds), times=int(times))) | Fault(
                Silence(seconds=seconds), times=int(times)
            ) if seconds == FOREVER:
                count += times
    return count


def _in_order(faults: Iterable[Timed]) -> tuple[Timed, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at))


def main(arguments: list[str]) -> int:
    """Replay one seed, or search a range of them."""
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    make = KINDS[next((a for a in arguments if a.isalpha()), "plain")]
    jitter = next((float(a) for a in arguments if "." in a), None)
    first, last = numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] + 1
    failed = 0
    for seed in range(first, last):
        cases = make(seed)
        if jitter is not None:
            cases = tuple(replace(case, jitter=jitter) for case in cases)
        worlds = play(cases)
        for made, world in zip(cases, worlds, strict=True):
            try:
                check(made, world)
            except AssertionError as error:
                failed += 1
                sys.stdout.write(f"seed {seed}: {error}\n")
            if last - first == 1:
                _print(made, world)
    sys.stdout.write(f"{failed} of {last - first} seeds failed\n")
    return 1 if failed else 0


def _print(made: Case, world: World) -> None:
    sys.stdout.write(f"{made}\n")
    sys.stdout.writelines(f"{at:8.2f} {event}\n" for at, event in world.history)
    sys.stdout.write(f"wanted {made.script.transcripts}\nheard  {world.finals}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
