"""Outages pass in the time that it takes to compute what is done about them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _does_not_wait(virtual_clock: None) -> None:
    """A call takes no longer than what is computed in it."""
