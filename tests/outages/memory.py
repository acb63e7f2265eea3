"""Print how much memory a call takes on top, in MB, while the server floods it.

python -m tests.outages.memory "plain client"

A program of its own for each side, so that they do not share their memory. The server is in it,
too: what it takes is the same for all sides.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from loguru import logger as loguru_logger

from tests.outages.calls import BUILT_IN, OURS, call
from tests.outages.scenarios import FLOODED

_LOOK_EVERY = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE


async def measure(side: str) -> str:
    """Hold the call; tell how memory grew from just before the flood, and the words."""
    levels: list[int] = []

    async def watch() -> None:
        while True:
            levels.append(resident())
            await asyncio.sleep(_LOOK_EVERY)

    watching = asyncio.create_task(watch())
    outcome = await call(FLOODED, (OURS | BUILT_IN)[side])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    before = levels[int(0.3 / _LOOK_EVERY)]
    words = "all words" if outcome.finals == outcome.wanted else "words lost"
    return f"{(max(levels) - before) / 1e6:.0f} MB at the most, {words}"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    loguru_logger.remove()
    sys.stdout.write(f"{asyncio.run(measure(sys.argv[1]))}\n")
