"""The numbers of a session add up, at any time and whatever happens."""

from __future__ import annotations

from functools import partial

import pytest

from cartesia_ink_plugins.core.events import AudioGap
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stats import Snapshot, snapshot
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Away, Closing, Fault, Mute, Reset, World

SCRIPT = Script("Hello there.", "I'd like a table ... for two people.", "Yes.")


@pytest.mark.parametrize(
    "faults",
    [
        (),
        (Reset(2.0),),
        (Away(1.0, 4.0),),
        (Mute(3.0),),
        (Closing(2.0, 1011, 500), Reset(4.0)),
    ],
)
@pytest.mark.parametrize("ledger", [60.0, 2.0])
def test_every_second_is_sent_or_waits_or_is_lost(faults: tuple[Fault, ...], ledger: float) -> None:
    world = World(SCRIPT, faults, resilience=Resilience(replay_buffer_seconds=ledger))
    taken: list[Snapshot] = []

    def take() -> None:
        taken.append(snapshot(world.session))

    for tenth in range(150):
        world.at(tenth / 10, partial(take))
    world.run()
    take()
    for shot in taken:
        assert shot.received == pytest.approx(shot.sent + shot.pending + shot.lost)
        assert min(shot.sent, shot.pending, shot.lost, shot.replayed, shot.silence) >= 0
    last = taken[-1]
    assert last.pending == 0
    gaps = [event.seconds for event in world.events if isinstance(event, AudioGap)]
    assert sum(gaps) == pytest.approx(last.lost)
    assert last.connections >= 1
    assert last.protocol_violations == {}
    if ledger == 60.0:
        assert last.lost == 0
        assert last.turns == len(SCRIPT.turns)
