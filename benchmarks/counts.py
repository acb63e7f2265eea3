"""What a second of a stream takes, in numbers that a busy machine does not change.

Time is virtual and the server is in memory; the load is that of `pipecat_streams` and
`livekit_streams`.

    calls    of Python functions, by layer
    writes   to the socket; each is a call of the kernel, and wakes the server
    reads    of the socket
    passes   of the event loop
    hops     passes from the arrival of a turn.update to its frame at the next processor, or to its
             SpeechEvent in the application
    way      calls of Python functions from there to there
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

SIDES = {
    "pipecat": ("no-op", "floor", "built-in", "ours"),
    "livekit": ("nothing", "floor", "built-in", "ours"),
}
SECONDS = 26
"""Of audio: five turns."""
_FIGURES = ("writes", "reads", "passes", "hops", "way")


def measure(framework: str, side: str, seconds: int = SECONDS) -> dict[str, Any]:
    """Count one side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.counts_side", framework, side, str(seconds)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures


def report(framework: str, sides: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of one framework."""
    layers = sorted({layer for figures in sides.values() for layer in figures["calls"]})
    totals = {side: sum(figures["calls"].values()) for side, figures in sides.items()}
    lines = [f"{framework:24}" + "".join(f"{side:>12}" for side in sides)]
    lines += [
        _row(f"calls, {layer}", [f["calls"].get(layer, 0) for f in sides.values()])
        for layer in layers
    ]
    lines.append(_row("calls", list(totals.values())))
    lines += [_row(name, [figures[name] for figures in sides.values()]) for name in _FIGURES]
    if {"ours", "built-in"} <= sides.keys():
        lines.append(f"ours / built-in: calls {totals['ours'] / totals['built-in']:.2f}")
    return "\n".join(lines)


def _row(name: str, values: list[float]) -> str:
    return f"{name:24}" + "".join(f"{value:12.1f}" for value in values)


def main() -> None:
    """Count."""
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("framework", nargs="?", choices=SIDES, help="only this one")
    only = parser.parse_args().framework
    for framework in [only] if only else SIDES:
        figures = {side: measure(framework, side) for side in SIDES[framework]}
        sys.stdout.write(report(framework, figures) + "\n")


if __name__ == "__main__":
    main()
