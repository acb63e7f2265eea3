"""After a loss a turn ends in bounded time: a long one, and one that only one connection announced.

All times are of the virtual clock.
"""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.events import TurnEnd, TurnStart
from cartesia_ink_plugins.core.tap import Moment, MomentKind
from cartesia_ink_plugins.server.faults import Reset, Silence
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.world import Timed, World, check_order

MAX_FINAL_DELAY = 3.0  # seconds from the last word to the final, after a loss near the end
MAX_END_DELAY = 5.0  # seconds from the end of the replay to the end of a turn nobody continues


class Replays:
    """A tap that notes when each replay ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on(self, moment: Moment) -> None:
        if moment.kind is MomentKind.REPLAY_ENDED:
            self.ended.append(moment.time)


def times(world: World, kind: type[TurnStart | TurnEnd]) -> list[float]:
    """When the application received the events of a kind."""
    return [at for at, event in world.history if isinstance(event, kind)]


def numbered(count: int) -> Script:
    """One turn of so many words without a pause; an eager end is not predicted."""
    return Script(Turn(" ".join(f"word{number}" for number in range(count)), after=1.5))


@pytest.mark.parametrize(("words", "latency"), [(64, 0.01), (64, 0.04), (64, 0.15), (220, 0.04)])
@pytest.mark.parametrize("before", [0.05, 0.2, 0.5, 1.0, 2.0, 3.0])
def test_the_final_does_not_wait_for_the_length_of_the_turn(
    words: int, before: float, latency: float
) -> None:
    script = numbered(words)
    [(_, end)] = script.spans
    world = World(script, [Timed(end - before, Reset())], latency=latency).run()
    check_order(world.events)
    assert world.finals == script.transcripts
    assert len(world.dials) == 2
    [final] = times(world, TurnEnd)
    assert final - end <= MAX_FINAL_DELAY


@pytest.mark.parametrize("latency", [0.01, 0.04, 0.15])
@pytest.mark.parametrize("after", [0.5, 0.8, 1.0, 1.2])
def test_a_turn_that_only_one_connection_believed_in_ends_soon_after_the_replay(
    after: float, latency: float
) -> None:
    """Half a second of noise, a loss, and a connection that says nothing about it."""
    script = Script(Turn(noise=0.5, after=2.0), lead_in=0.5)
    lost_at = script.spans[0][0] + after
    silent_from = lost_at + 2 * latency + 0.001  # just after the connection opened
    replays = Replays()
    faults = [Timed(lost_at, Reset()), Timed(silent_from, Silence())]
    world = World(script, faults, latency=latency, tail=30.0, taps=[replays]).run()
    check_order(world.events)
    start, end = times(world, TurnStart)[0], times(world, TurnEnd)[0]
    assert start < lost_at < end
    assert replays.ended[0] < end <= replays.ended[0] + MAX_END_DELAY
