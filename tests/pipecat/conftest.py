"""The framework needs no words when all goes well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger


@pytest.fixture(autouse=True, scope="package")
def _quiet_framework() -> Iterator[None]:
    logger.disable("pipecat")
    yield
    logger.enable("pipecat")


@pytest.fixture(autouse=True)
def _does_not_wait(virtual_clock: None) -> None:
    """A call takes no longer than what is computed in it."""


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged as a warning, or worse."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), level="WARNING")
    yield lines
    logger.remove(handler)
