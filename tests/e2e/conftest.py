"""Whole calls are shared out among the workers one by one, those that may take longest first."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

TOGETHER = ("tests/e2e/browser/test_page.py",)
"""Modules whose tests share a bot and a browser, which take seconds to start in each worker."""


class _Calls(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker one test at a time, or all tests of a module that shares a bot."""

    def _split_scope(self, nodeid: str) -> str:
        module, _, _ = nodeid.partition("::")
        return module if module in TOGETHER else nodeid

    def _reschedule(self, node: WorkerController) -> None:
        """Let no test wait behind a long one that has another behind it already."""
        if not (self.workqueue and self._pending_of(self.assigned_work[node]) > 1):
            super()._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Calls:
    return _Calls(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


def _place(item: pytest.Item) -> float:
    """Order whole calls by what they may take, behind everything else."""
    if Path(__file__).parent not in item.path.parents:
        return float("-inf")
    limit = item.get_closest_marker("timeout")
    return -float(limit.args[0]) if limit else 0.0
