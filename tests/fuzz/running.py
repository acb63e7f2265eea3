"""Runs one input of the fuzzer, and says how to run it again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fuzz.source import Source
from tests.fuzz.targets import TARGETS

_LONGEST = 5.0  # seconds of this process's own time; the slowest input takes a tenth of that


@contextmanager
def _without_log() -> Iterator[None]:
    """Most inputs are worth a line in the log, and nobody reads fifty thousand."""
    logger = logging.getLogger("cartesia_ink_plugins")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


class InputFailedError(AssertionError):
    """An input did what none may do."""


def run_one(name: str, seed: int, number: int) -> str:
    """Run an input; return what came of it, in a word.

    Raises:
        InputFailedError: It raised something else than our errors, or took far too long.
    """
    source = Source(f"{name} {seed} {number}")
    began = time.process_time()
    again = f"python -m tests.fuzz --target {name} --seed {seed} --only {number}"
    try:
        with _without_log():
            outcome = TARGETS[name](source)
    except Exception as error:
        raise InputFailedError(f"{name}: {error!r}; again: {again}") from error
    if time.process_time() - began > _LONGEST:
        raise InputFailedError(f"{name}: took more than {_LONGEST:g} s; again: {again}")
    return outcome
