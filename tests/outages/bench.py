"""Print what happens when a connection fails: ours beside the frameworks' own Ink classes.

python -m tests.outages.bench                   # everything
python -m tests.outages.bench RST "half-open"   # only scenarios with these words
"""

from __future__ import annotations

import asyncio
import logging
import sys

from loguru import logger as loguru_logger

from tests.outages.calls import BUILT_IN, OURS, Outcome, Side
from tests.outages.scenarios import CALLER, SCENARIOS, Scenario

_AT_ONCE = 6


def describe(outcome: Outcome) -> str:
    """One cell of the table."""
    words = "all words" if outcome.has_all_words else f"LOST ({_count(outcome)} words)"
    turns = f"{len(outcome.finals)} of {len(CALLER.turns)} turns"
    flows = "" if outcome.flows_after is None else f", audio after {outcome.flows_after:.2f} s"
    return f"{words}, {turns}{flows}"


def _count(outcome: Outcome) -> str:
    wanted = len("".join(CALLER.transcripts).split())
    return f"{len(' '.join(outcome.finals).split())} of {wanted}"


async def main(words: list[str]) -> None:
    """Let all calls happen, some at once, and print the table."""
    chosen = [s for s in SCENARIOS if not words or any(word in s.name for word in words)]
    sides = OURS | BUILT_IN
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(scenario: Scenario, side: Side) -> str:
        async with room:
            try:
                return describe(await side(scenario))
            except Exception as error:
                return f"{type(error).__name__}: {error}"

    cells = await asyncio.gather(
        *(asyncio.gather(*(one(s, side) for side in sides.values())) for s in chosen)
    )
    sys.stdout.write(f"| what happens | {' | '.join(sides)} |\n|---{'|---' * len(sides)}|\n")
    for scenario, row in zip(chosen, cells, strict=True):
        sys.stdout.write(f"| {scenario.name} | {' | '.join(row)} |\n")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    loguru_logger.remove()
    asyncio.run(main(sys.argv[1:]))
