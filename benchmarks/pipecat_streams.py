"""What a stream costs in a Pipecat pipeline: ours, the built-in one, none, and a bare socket.

Frames of 20 ms are handed in in real time, spread over the 20 ms: no two callers speak in the same
instant. Messages come at the rate of speech, 2.5 a second. The sides take turns, and the medians of
the rounds are shown.

    websockets   a bare socket for each stream, and no pipeline
    no-op        a pipeline whose STT service does nothing: what the framework costs
    floor        an STT service that does the least: send each frame, make a frame of each message
    built-in     Pipecat's CartesiaTurnsSTTService
    ours         InkTurnsSTTService
    ours-40ms    the same, gathering two frames into one message, at the price of 10 ms of delay
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sides import Side, arguments, measure, medians

SIDES = ("websockets", "no-op", "floor", "built-in", "ours", "ours-40ms")
SCRIPT = Path(__file__).with_name("pipecat_side.py")
BUSY = 700.0
"""Milliseconds of CPU in a second: with more than that, frames queue for the core."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one side cost in one round.

    Attributes:
        cpu: Milliseconds of CPU per second of one stream.
        p50: Median time from a server's event to the frame at the next processor, milliseconds.
        p99: 99th percentile of it.
        memory: KiB of resident memory per stream, at the end of the round.
    """

    cpu: float
    p50: float
    p99: float
    memory: float


def compare(streams: int, seconds: float, rounds: int, sides: Sequence[Side]) -> dict[str, Cost]:
    """Measure sides, in turns; return the medians of the rounds, by name."""
    results: dict[str, list[Cost]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            results[side.name].append(Cost(**measure(SCRIPT, side, streams, seconds).figures))
    return {name: medians(costs) for name, costs in results.items()}


def report(streams: int, costs: Mapping[str, Cost]) -> str:
    """The table of one number of streams."""
    lines = [
        f"{streams} streams of 20 ms frames",
        f"  {'':12}{'CPU ms/stream-s':>16}{'event p50 ms':>14}{'p99 ms':>9}{'KiB/stream':>12}",
    ]
    for name, cost in costs.items():
        times = f"{cost.p50:14.2f}{cost.p99:9.2f}" if cost.p99 else f"{'-':>14}{'-':>9}"
        lines.append(f"  {name:12}{cost.cpu:16.2f}{times}{cost.memory:12.0f}")
    lines += [
        _ratios(costs["ours"], costs[other], other, costs.get("no-op"))
        for other in ("built-in", "old")
        if {"ours", other} <= costs.keys()
    ]
    if busy := [name for name, cost in costs.items() if cost.cpu * streams > BUSY]:
        lines.append(f"  The core was too busy for times to mean much: {', '.join(busy)}")
    return "\n".join(lines)


def _ratios(ours: Cost, other: Cost, name: str, framework: Cost | None) -> str:
    line = (
        f"  ours / {name}: CPU {ours.cpu / other.cpu:.2f}, p50 {ours.p50 / other.p50:.2f}, "
        f"p99 {ours.p99 / other.p99:.2f}, memory {ours.memory / max(other.memory, 1):.2f}"
    )
    if framework is None or other.cpu <= framework.cpu:
        return line
    share = (ours.cpu - framework.cpu) / (other.cpu - framework.cpu)
    return f"{line}; CPU above no-op {share:.2f}"


def main() -> None:
    """Run the benchmark."""
    assert __doc__
    args = arguments(__doc__, [1, 20, 50, 100], SIDES)
    for streams in args.streams:
        costs = compare(streams, args.seconds, args.rounds, args.sides)
        print(report(streams, costs), flush=True)


if __name__ == "__main__":
    main()
