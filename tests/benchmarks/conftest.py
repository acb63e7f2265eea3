"""What tests of benchmarks share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the server of a benchmark has no core that it could keep awake.

    Awake, it takes a core of the tests for as long as the frameworks are imported.
    """
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {core})
