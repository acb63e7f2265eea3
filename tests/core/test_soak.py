"""Hours on the telephone, in virtual time, with a connection lost every three minutes.

`make soak` lets it be a day.
"""

from __future__ import annotations

import gc
import os
from types import FunctionType, MethodType, ModuleType

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.options import TurnsOptions
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Reset, World, check_order

HOURS = int(os.environ.get("INK_SOAK_HOURS", "3"))
DROP_EVERY = 180.0


def reachable(root: object) -> int:
    """Count the objects a session holds on to."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType | MethodType):
            continue
        seen.add(id(thing))
        pending += gc.get_referents(thing)
    return len(seen)


def test_hours_of_conversation_loses_nothing_and_keeps_nothing() -> None:
    script = Script(
        "Hello there.",
        "I'd like a table ... for two people.",
        "Tomorrow at seven please.",
        lead_in=1.0,
    )
    options = TurnsOptions(encoding="pcm_mulaw", sample_rate=8000)
    call = script.audio(AudioFormat(Encoding.PCM_MULAW, 8000)) + options.format.silence(40.0)
    calls = int(HOURS * 3600 / options.format.seconds(len(call)))
    world = World(
        script,
        [Reset(number * (DROP_EVERY + 7.3)) for number in range(1, int(HOURS * 3600 / 188))],
        options=options,
        audio=call,
        repeat=calls,
        chunk=0.1,
    )
    held: list[int] = []
    for hour in (1, HOURS - 1):
        world.at(hour * 3600.0, lambda: held.append(reachable(world.session)))
    world.run(limit=1e6)

    first, *later = script.transcripts
    spoken = [first, *later, *[f" {first}", *later] * (calls - 1)]
    assert world.finals == spoken
    check_order(world.events)
    accounts = world.session.link.accounts
    assert accounts.received == accounts.sent
    assert accounts.lost == 0
    assert accounts.connections > HOURS * 18
    assert held[1] < held[0] + 2000, "the session grows"
    assert world.largest_ledger < options.format.size(30.0)
