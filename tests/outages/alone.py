"""Measure what needs a process of its own: memory, and crowds. The benchmark runs it.

python -m tests.outages.alone memory "plain client"
python -m tests.outages.alone crowd "plain client"

The server is in the process, too: what it takes is the same for all sides. Printed is, as JSON, how
bad it is (the worst of our sides is shown), and the cell of the table.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from loguru import logger as loguru_logger

from tests.outages.calls import BUILT_IN, OURS, Client, Outcome, call, crowd
from tests.outages.scenarios import CROWD, FLOODED, busy

_LOOK_EVERY = 0.02
_CALM = 0.4
_INSTANT = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE


async def memory(client: Client) -> tuple[float, str]:
    """How memory grew at the most from just before the flood, and what became of the words."""
    levels: list[tuple[float, int]] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            levels.append((loop.time() - began, resident()))
            await asyncio.sleep(_LOOK_EVERY)

    watching = asyncio.create_task(watch())
    outcome = await call(FLOODED, client)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    calm = max(level for at, level in levels if at <= _CALM)
    grown = (max(level for _, level in levels) - calm) / 1e6
    words = "all words" if outcome.finals == outcome.wanted else "words lost"
    return grown, f"{grown:.0f} MB at the most, {words}"


async def come_back(client: Client) -> tuple[float, str]:
    """When those who were refused come back: the first, the last, and the most in one instant."""
    return describe(await crowd(busy(CROWD), client, CROWD))


def describe(outcomes: Sequence[Outcome]) -> tuple[float, str]:
    """What became of a crowd."""
    dials = sorted(outcomes[0].dials)
    refused, back = dials[:CROWD], dials[CROWD : 2 * CROWD]
    heard = sum(outcome.finals == outcome.wanted for outcome in outcomes)
    complete = "all heard" if heard == CROWD else f"{heard} of {CROWD} heard"
    if not back:
        return CROWD, f"none comes back, {complete}"
    most = max(sum(at <= dial < at + _INSTANT for dial in back) for at in back)
    first, last = back[0] - refused[0], back[-1] - refused[0]
    return most, f"after {first:.1f} to {last:.1f} s, at most {most} in {_INSTANT:g} s, {complete}"


def main(what: str, side: str) -> str:
    """Measure one thing on one side."""
    client = (OURS | BUILT_IN)[side]
    return json.dumps(asyncio.run(memory(client) if what == "memory" else come_back(client)))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    loguru_logger.remove()
    sys.stdout.write(f"{main(*sys.argv[1:])}\n")
