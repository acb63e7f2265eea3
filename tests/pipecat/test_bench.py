"""The bench measures every side, and says how ours compares."""

from __future__ import annotations

from cartesia_ink_plugins.pipecat.bench import Cost, measure, report


def test_a_side_is_measured_in_a_process_of_its_own() -> None:
    (cost,) = measure(streams=1, seconds=0.5, rounds=1, sides=["ours"]).values()
    assert cost.cpu > 0
    assert cost.p99 >= cost.p50 > 0
    assert cost.memory > 0


def test_ours_is_compared_with_the_builtin_service() -> None:
    sides = {"built-in": Cost(cpu=4, p50=1, p99=2, memory=100)}
    sides["ours"] = Cost(cpu=3, p50=1, p99=1, memory=110)
    assert report(50, sides).endswith("ours / built-in: CPU 0.75, p99 0.50, memory 1.10")
