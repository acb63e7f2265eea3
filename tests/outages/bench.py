"""Print what happens when a connection fails: ours beside the frameworks' own Ink classes.

python -m tests.outages.bench                   # the table of docs/benchmarks.md, in three minutes
python -m tests.outages.bench RST "half-open"   # only rows with these words
python -m tests.outages.bench --sides RST       # each of our three sides by itself

Of our three sides, the plain client and the plugins for Pipecat and LiveKit, the table shows the
one that did worst.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import logging
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from loguru import logger as loguru_logger

from tests.outages.calls import BUILT_IN, OURS, Client, Outcome, call
from tests.outages.scenarios import Scenario
from tests.outages.table import HEAD, ROWS, Measure, Row

_AT_ONCE = 12
_PROGRAMS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of one side; the worse, the greater `badness`."""

    badness: tuple[float, ...]
    text: str


class Bench:
    """Measures rows, several calls at a time."""

    def __init__(self) -> None:
        """Begin with nothing running."""
        self._calls = asyncio.Semaphore(_AT_ONCE)
        self._programs = asyncio.Semaphore(_PROGRAMS_AT_ONCE)

    async def row(self, row: Row) -> list[Cell]:
        """Measure one row: our three sides, then the built-in classes."""
        return await asyncio.gather(
            *(self._cell(row, name, client) for name, client in (OURS | BUILT_IN).items())
        )

    async def _cell(self, row: Row, side: str, client: Client) -> Cell:
        if row.scenario is None:
            return await self._soak(side)
        if row.measure in (Measure.MEMORY, Measure.CROWD):
            what = "memory" if row.measure is Measure.MEMORY else "crowd"
            told = await self._program("tests.outages.alone", what, side)
            badness, text = json.loads(told or '[Infinity, "crashed"]')
            return Cell((badness,), text)
        async with self._calls:
            return describe(await call(row.scenario, client), row.scenario, row.measure)

    async def _soak(self, side: str) -> Cell:
        # The three sides have one core, and nothing else can be run in virtual time.
        if side != next(iter(OURS)):
            return Cell((-1.0,), "cannot be run")
        return Cell((0.0,), await self._program("tests.core.soak", "24") or "crashed")

    async def _program(self, module: str, *arguments: str) -> str:
        """Run a program of its own; give the last line it printed."""
        async with self._programs:
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *arguments),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            output, _ = await program.communicate()
        return "".join(output.decode().splitlines()[-1:])


def describe(outcome: Outcome, scenario: Scenario, measure: Measure) -> Cell:
    """What became of one call."""
    wanted, got = "".join(outcome.wanted).split(), " ".join(outcome.finals).split()
    matcher = difflib.SequenceMatcher(None, wanted, got, autojunk=False)
    heard = sum(block.size for block in matcher.get_matching_blocks())
    if measure is Measure.REFUSAL:
        when = f" after {outcome.told[0]:.2f} s" if outcome.told else ""
        text = f"told {_times(len(outcome.told))}{when}, {_count(len(outcome.dials), 'dial')}"
        return Cell((abs(len(outcome.told) - 1), len(outcome.dials)), text)
    words = "all words" if heard == len(wanted) else f"{heard} of {len(wanted)} words"
    if len(got) > heard:
        words += f" and {len(got) - heard} wrong"
    parts = [words, _count(len(outcome.finals), "final")]
    rank = 0.0
    match measure:
        case Measure.FLOW:
            rank = float("inf") if outcome.flows_after is None else outcome.flows_after
            parts.insert(0, "never" if outcome.flows_after is None else f"{max(0.0, rank):.2f} s")
        case Measure.ERRORS:
            rank = len(outcome.told)
            parts.insert(0, _count(len(outcome.told), "error"))
        case Measure.READY:
            rank = float("inf") if outcome.ready_at is None else outcome.ready_at
            parts.insert(0, f"starts after {rank:.2f} s")
    if outcome.crash:
        parts.append(outcome.crash)
    good = outcome.finals == outcome.wanted and not outcome.crash
    return Cell((not good, len(wanted) - heard, rank), ", ".join(parts))


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _count(count: int, what: str) -> str:
    return f"no {what}" if not count else f"1 {what}" if count == 1 else f"{count} {what}s"


def line(row: Row, cells: Sequence[Cell], *, sides: bool = False) -> str:
    """One row as docs/benchmarks.md has it; with `sides`, our three sides by themselves."""
    ours, built_in = cells[: len(OURS)], cells[len(OURS) :]
    shown = [*ours] if sides else [max(ours, key=lambda cell: cell.badness)]
    texts = [cell.text for cell in (*shown, *built_in)]
    return f"| [{row.title}](../{row.test}) | {' | '.join(texts)} |"


async def main(words: Sequence[str], *, sides: bool) -> None:
    """Let everything happen, much of it at once, and print the table."""
    chosen = [row for row in ROWS if not words or any(word in row.title for word in words)]
    bench = Bench()
    # The longest begin first, so that nobody waits for them in the end.
    order = sorted(chosen, key=lambda row: -row.scenario.tail if row.scenario else -1000.0)
    measured: dict[str, Awaitable[list[Cell]]] = {
        row.title: asyncio.ensure_future(bench.row(row)) for row in order
    }
    head = (HEAD[0], *OURS, *HEAD[2:]) if sides else HEAD
    sys.stdout.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    for row in chosen:
        sys.stdout.write(f"{line(row, await measured[row.title], sides=sides)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    loguru_logger.remove()
    parser = argparse.ArgumentParser(description="What happens when the connection fails.")
    parser.add_argument("words", nargs="*", help="only rows with one of these words")
    parser.add_argument("--sides", action="store_true", help="our three sides by themselves")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.words, sides=arguments.sides))
