"""Outages of any length, in virtual time: when audio flows again, and what is left of the words."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.events import AudioGap
from cartesia_ink_plugins.server.faults import At, Fault, NoPongs, Outage, Reset
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Timed, World

CALLER = Script("Hello there.", "I'd like a table ... for two people.", "Tomorrow at seven.")
MID_TURN = 3.0


@pytest.mark.parametrize(
    ("away", "within"),
    [(1.0, 1.0), (6.0, 1.0), (14.0, 1.0), (45.0, 5.5)],
    ids=lambda seconds: f"{seconds:g}",
)
@pytest.mark.parametrize("seed", range(5))
def test_audio_flows_soon_after_the_server_is_back(away: float, within: float, seed: int) -> None:
    world = World(CALLER, [Timed(MID_TURN, Outage(away))], tail=away + 20.0, seed=seed).run()
    back = MID_TURN + away
    # What is on its way when the server comes back is answered.
    flows = min(dial for dial in world.dials if dial + world.latency >= back) + 2 * world.latency
    assert flows - back <= within
    assert world.finals == CALLER.transcripts
    assert not any(isinstance(event, AudioGap) for event in world.events)


def test_audio_that_an_outage_outlasts_is_reported() -> None:
    world = World(CALLER, [Timed(MID_TURN, Outage(200.0))], tail=230.0).run(limit=1000.0)
    gaps = [event for event in world.events if isinstance(event, AudioGap)]
    accounts = world.session.sender.counts
    assert sum(gap.seconds for gap in gaps) == pytest.approx(
        world.options.format.seconds(accounts.lost)
    )
    assert accounts.received == accounts.sent + accounts.lost
    assert world.session.is_closed


@pytest.mark.parametrize("lost_at", [at / 2 for at in range(4, 24)])
def test_a_server_that_answers_no_pings_costs_no_word_and_doubles_none(lost_at: float) -> None:
    """They answer the first ones, for a second."""
    no_pongs = (
        Fault(NoPongs(), At("seconds", 1.0), connection=0),
        Fault(NoPongs(), At("upgrade"), connection=1),
    )
    world = World(CALLER, [*no_pongs, Timed(lost_at, Reset())], tail=20.0).run()
    assert world.finals == CALLER.transcripts
