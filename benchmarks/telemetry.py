"""What telemetry costs: plain clients with OpenTelemetry absent, imported only, and configured.

Frames of 20 ms are handed in in real time. A turn lasts about 5 s. The sides take turns, each in a
process of its own; each round is compared with itself, and the median of the rounds is shown, with
the smallest and the largest.

    off     OpenTelemetry is not imported
    idle    it is imported, as by a framework, and not configured
    on      it is configured: spans and metrics are batched, encoded as OTLP, and dropped
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.sides import Side, arguments, measure

SIDES = ("off", "idle", "on")
SCRIPT = Path(__file__).with_name("telemetry_side.py")


def compare(
    streams: int, seconds: float, rounds: int, sides: Sequence[Side]
) -> dict[str, list[float]]:
    """Measure the sides in turns; return the CPU time of each round, by name."""
    results: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        # Each round begins with another side: what warms the machine up is no side's fault.
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            measured = measure(SCRIPT, side, streams, seconds)
            results[side.name].append(float(measured.figures["cpu"]))
    return results


def report(streams: int, results: Mapping[str, Sequence[float]]) -> str:
    """The table of one number of streams."""
    lines = [f"{streams} streams of 20 ms frames", f"  {'':6}{'CPU ms/stream-s':>16}  beside off"]
    off = results.get("off")
    for name, taken in results.items():
        line = f"  {name:6}{statistics.median(taken):16.2f}"
        if off and name != "off":
            ratios = sorted(one / base for one, base in zip(taken, off, strict=True))
            more = statistics.median(one - base for one, base in zip(taken, off, strict=True))
            line += f"  {statistics.median(ratios):.3f} × ({ratios[0]:.3f} to {ratios[-1]:.3f})"
            line += f", {more / 10:+.3f} % of a core"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    assert __doc__
    args = arguments(__doc__, [20], SIDES)
    for streams in args.streams:
        results = compare(streams, args.seconds, args.rounds, args.sides)
        print(report(streams, results), flush=True)


if __name__ == "__main__":
    main()
