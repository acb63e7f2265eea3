"""The bench measures every side, and says how ours compares."""

from __future__ import annotations

from dataclasses import replace

from cartesia_ink_plugins.pipecat.bench import Cost, measure, report

SIDES = {
    "built-in": Cost(cpu=4, p50=1, p99=2, memory=100),
    "ours": Cost(cpu=3, p50=1, p99=1, memory=110),
}


def test_a_side_is_measured_in_a_process_of_its_own() -> None:
    (cost,) = measure(streams=1, seconds=0.5, rounds=1, sides=["ours"]).values()
    assert cost.cpu > 0
    assert cost.p99 >= cost.p50 > 0
    assert cost.memory > 0


def test_ours_is_compared_with_the_builtin_service() -> None:
    table = report(50, SIDES)
    assert table.endswith("ours / built-in: CPU 0.75, p50 1.00, p99 0.50, memory 1.10")


def test_times_that_say_more_of_the_machine_are_marked() -> None:
    noop = replace(SIDES["ours"], cpu=2, p50=0, p99=0)
    table = report(200, {"no-op": noop, **SIDES}).splitlines()
    assert table[-1] == "  The core was too busy for times to mean much: built-in"
    assert table[2].split() == ["no-op", "2.00", "-", "-", "110"]
