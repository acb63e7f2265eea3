"""The bench measures every side, and says how ours compares."""

from __future__ import annotations

from cartesia_ink_plugins.pipecat.bench import SIDES, Cost, measure, report


def test_every_side_is_measured() -> None:
    costs = measure(streams=1, seconds=0.5, rounds=1)
    assert tuple(costs) == SIDES
    assert all(cost.cpu > 0 and cost.memory > 0 for cost in costs.values())
    assert all(costs[side].p50 > 0 for side in ("websockets", "built-in", "ours"))


def test_ours_is_compared_with_the_builtin_service() -> None:
    sides = {"built-in": Cost(cpu=4, p50=1, p99=2, memory=100)}
    sides["ours"] = Cost(cpu=3, p50=1, p99=1, memory=110)
    assert report(50, sides).endswith("ours / built-in: CPU 0.75, p99 0.50, memory 1.10")
