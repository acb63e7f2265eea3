"""Hours on the telephone, in virtual time, with a connection lost every three minutes.

`make soak` lets it be a day.
"""

from __future__ import annotations

import json
import os

from cartesia_ink_plugins.core.events import Connected
from cartesia_ink_plugins.core.options import Resilience, TurnsOptions
from cartesia_ink_plugins.core.turns.session import TurnsSession
from cartesia_ink_plugins.core.wire import encode
from tests.core.hand import taken
from tests.core.soak import size, soak
from tests.core.world import check_order

HOURS = int(os.environ.get("INK_SOAK_HOURS", "2"))


def test_hours_of_conversation_loses_nothing_and_keeps_nothing() -> None:
    soaked = soak(HOURS)
    world = soaked.world
    assert world.finals == soaked.wanted
    check_order(world.events)
    accounts = world.session.sender.counts
    assert accounts.received == accounts.sent
    assert accounts.lost == 0
    assert accounts.connections > HOURS * 18
    early, late = soaked.held[: HOURS * 2], soaked.held[-HOURS * 2 :]
    assert max(late) < 1.1 * max(early), "the session grows"
    assert world.largest_buffer < world.options.format.size(30.0)


def test_a_flood_of_messages_leaves_nothing_behind() -> None:
    session = TurnsSession(TurnsOptions(), Resilience(), jitter=lambda: 0.5)
    session.start(0.0)
    session.connection_opened(0.1)
    session.message_received(encode(Connected("request")), 0.1)
    before = size(session)
    for number in range(20_000):
        now = 0.2 + number * 1e-5
        session.message_received(json.dumps({"type": f"new.{number}", "filler": "x" * 1000}), now)
        session.message_received(f'{{"type": "turn.update", "transcript": {number}', now)
        session.message_received(number.to_bytes(4, "big"), now)
    assert taken(session.events) == [Connected("request")]
    assert size(session) < before + 20_000
