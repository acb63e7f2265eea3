"""The sides of a comparison, each measured in a process of its own.

The process that is measured is held to one core, its server has the others. It is a script that
imports nothing of `benchmarks`, so that the package it measures may be that of another checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parent.parent
_SERVER = Path(__file__).with_name("clock_server.py")

_EPILOG = """\
before and after in one run:
  git worktree add ../before main
  python -m benchmarks.... --old ../before

The package of that checkout is measured as a side named "old", in turns with the others.
"""

Figures = TypeVar("Figures")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: In the table.
        kind: What the script that is measured calls it.
        checkout: The folder whose `cartesia_ink_plugins` is imported.
    """

    name: str
    kind: str
    checkout: Path = ROOT


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process measured.

    Attributes:
        figures: What it printed.
        arrivals: When its audio was at the server, by keyterm: see `clock_server`.
    """

    figures: dict[str, Any]
    arrivals: dict[str, list[tuple[float, float]]]


def measure(script: Path, side: Side, streams: int, seconds: float) -> Measured:
    """Take one measurement, with a server of its own.

    Args:
        script: Is run with kind, streams, seconds and port, and prints its figures as JSON.
        side: What to measure.
        streams: How many streams at once.
        seconds: How long.

    Raises:
        CalledProcessError: The script failed; it has said why on standard error.
    """
    cores = sorted(os.sched_getaffinity(0))
    others = cores[1:] or cores
    awake = ["--has-own-core"] if len(cores) > 1 else []
    with _start([str(_SERVER), *awake], ROOT, others) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        try:
            arguments = [str(script), side.kind, str(streams), str(seconds), port]
            with _start(arguments, side.checkout, cores[:1]) as process:
                printed, _ = process.communicate()
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, arguments)
            arrivals, _ = server.communicate()
        except BaseException:
            server.kill()
            raise
    return Measured(json.loads(printed.splitlines()[-1]), json.loads(arrivals))


def _start(arguments: list[str], checkout: Path, cores: Sequence[int]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        # -P: neither the script's folder nor the current one comes before the checkout.
        [sys.executable, "-P", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    os.sched_setaffinity(process.pid, cores)
    return process


def medians(taken: Sequence[Figures]) -> Figures:
    """The median of each field of some dataclasses of one kind."""
    rows = [asdict(one) for one in taken]  # type: ignore[call-overload]
    return type(taken[0])(
        **{name: statistics.median(row[name] for row in rows) for name in rows[0]}
    )


def arguments(description: str, streams: Sequence[int], kinds: Sequence[str]) -> argparse.Namespace:
    """Read the command line that both comparisons have.

    Args:
        description: The first lines of the help.
        streams: How many at once by default.
        kinds: The sides there are.

    Returns:
        `streams`, `seconds`, `rounds`, and the `sides` that were chosen.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, nargs="+", default=streams, metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each round")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each side")
    parser.add_argument(
        "--sides", nargs="+", choices=kinds, default=kinds, help="only these (%(default)s)"
    )
    parser.add_argument(
        "--old", type=Path, metavar="DIR", help="another checkout, to be compared with this one"
    )
    args = parser.parse_args()
    if min(*args.streams, args.rounds) < 1 or args.seconds <= 0:
        parser.error("--streams, --rounds and --seconds must be positive")
    if not hasattr(os, "sched_setaffinity"):
        parser.error("processes are held to cores, and /proc is read: only on Linux")
    args.sides = [Side(kind, kind) for kind in args.sides]
    if args.old:
        if not (args.old / "cartesia_ink_plugins").is_dir():
            parser.error(f"--old: {args.old} has no cartesia_ink_plugins in it")
        args.sides.append(Side("old", "ours", args.old.resolve()))
    return args
