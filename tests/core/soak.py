"""Hours on the telephone, in virtual time, with a connection lost every three minutes.

python -m tests.core.soak 24      # a day; takes a minute or two
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.options import TurnsOptions
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Timed, World, check_order

DROP_EVERY = 180.0
_FIRST_LOOK = 1800.0
_LOOK_EVERY = 600.0
SCRIPT = Script(
    "Hello there.",
    "I'd like a table ... for two people.",
    "Tomorrow at seven please.",
    lead_in=1.0,
)


@dataclass(frozen=True, slots=True)
class Soaked:
    """What became of the hours.

    Attributes:
        world: In which they were lived.
        wanted: The text of every turn that was spoken.
        held: Bytes that the session held on to, looked at now and then.
    """

    world: World
    wanted: list[str]
    held: list[int]


def reachable(root: object) -> list[object]:
    """The objects that something holds on to."""
    seen: dict[int, object] = {}
    pending = [root]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType | MethodType):
            continue
        seen[id(thing)] = thing
        pending += gc.get_referents(thing)
    return list(seen.values())


def size(root: object) -> int:
    """Bytes that something holds on to."""
    return sum(map(sys.getsizeof, reachable(root)))


def soak(hours: float) -> Soaked:
    """Live some hours of three turns a minute."""
    options = TurnsOptions(encoding="pcm_mulaw", sample_rate=8000)
    call = SCRIPT.audio(AudioFormat(Encoding.PCM_MULAW, 8000)) + options.format.silence(40.0)
    calls = int(hours * 3600 / options.format.seconds(len(call)))
    drops = range(1, int(hours * 3600 / (DROP_EVERY + 8.0)))
    world = World(
        SCRIPT,
        [Timed(number * (DROP_EVERY + 7.3), Reset()) for number in drops],
        options=options,
        audio=call,
        repeat=calls,
        chunk=0.1,
    )
    held: list[int] = []
    looks = int((hours * 3600 - _FIRST_LOOK) / _LOOK_EVERY)
    for look in range(looks):
        world.at(_FIRST_LOOK + look * _LOOK_EVERY, lambda: held.append(size(world.session)))
    world.run(limit=1e6)
    first, *later = SCRIPT.transcripts
    wanted = [first, *later, *[f" {first}", *later] * (calls - 1)]
    return Soaked(world, wanted, held)


def main(hours: float) -> str:
    """Live the hours; tell in one line what became of them."""
    soaked = soak(hours)
    world, accounts = soaked.world, soaked.world.session.sender.counts
    check_order(world.events)
    heard = sum(a == b for a, b in zip(soaked.wanted, world.finals, strict=False))
    unaccounted = accounts.received - accounts.sent - accounts.lost
    parts = [
        f"{accounts.connections - 1} drops",
        f"{heard} of {len(soaked.wanted)} finals",
        f"{accounts.lost} bytes lost and {unaccounted} unaccounted for of {accounts.received}",
        f"ledger at most {world.options.format.seconds(world.largest_buffer):.1f} s",
        f"{min(soaked.held) / 1000:.0f} to {max(soaked.held) / 1000:.0f} kB held",
    ]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.stdout.write(f"{main(float(sys.argv[1]))}\n")
