"""`cartesia-ink bench pipecat`: what a stream costs, ours and the built-in service side by side."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from cartesia_ink_plugins.core.errors import UsageError


def add_parser(benches: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench pipecat` to the command line."""
    parser = benches.add_parser(
        "pipecat",
        help="the Pipecat service beside the built-in one",
        description=(
            "Measure CPU, memory and the delay of events for our service, the built-in one, a "
            "service that does nothing and a bare socket, in turns, each held to one core."
        ),
    )
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[1, 50, 100], metavar="N", help="at once"
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each round")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each side")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the bench.

    Returns:
        The exit status.

    Raises:
        UsageError: Pipecat is not installed, or there is nothing to measure.
    """
    if find_spec("pipecat") is None:
        raise UsageError("bench pipecat needs: pip install 'cartesia-ink-plugins[pipecat]'")
    if sys.platform != "linux":
        raise UsageError("bench pipecat reads /proc and holds processes to cores: only on Linux")
    if min(*args.streams, args.rounds) < 1 or args.seconds <= 0:
        raise UsageError("--streams, --rounds and --seconds must be positive")
    from cartesia_ink_plugins.pipecat.bench import measure, report

    for streams in args.streams:
        costs = measure(streams, args.seconds, args.rounds)
        sys.stdout.write(report(streams, costs) + "\n")
        sys.stdout.flush()
    return 0
