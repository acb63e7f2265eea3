"""Runs one input of the fuzzer, and says how to run it again."""

from __future__ import annotations

import logging
import time

from tests.fuzz.source import Source
from tests.fuzz.targets import TARGETS

_LONGEST = 5.0  # seconds of this process's own time; the slowest input takes a tenth of that


class InputFailedError(AssertionError):
    """An input did what none may do."""


def run_one(name: str, seed: int, number: int) -> str:
    """Run an input; return what came of it, in a word.

    Raises:
        InputFailedError: It raised something else than our errors, or took far too long.
    """
    source = Source(f"{name} {seed} {number}")
    logging.getLogger("cartesia_ink_plugins").setLevel(logging.CRITICAL + 1)
    began = time.process_time()
    again = f"python -m tests.fuzz --target {name} --seed {seed} --only {number}"
    try:
        outcome = TARGETS[name](source)
    except Exception as error:
        raise InputFailedError(f"{name}: {error!r}; again: {again}") from error
    if time.process_time() - began > _LONGEST:
        raise InputFailedError(f"{name}: took more than {_LONGEST:g} s; again: {again}")
    return outcome
