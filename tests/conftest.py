"""What every test stands on: an environment without secrets, and honesty about what was skipped."""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import cast

import pytest

from cartesia_ink_plugins.testing.virtual_clock import VirtualClock
from tests.needs import ROOT, audio_folder, missing

# Older versions of Pipecat cut sentences with NLTK, which fetches a model over the network. The
# model here is as good as empty: it knows what ends a sentence, and six abbreviations.
os.environ.setdefault("NLTK_DATA", str(ROOT / "tests" / "nltk_data"))

IN_CI = os.environ.get("CI", "").lower() == "true"
_EXCUSED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True)
def _no_secrets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the real service by accident, whatever the developer's shell exports."""
    if any("cartesia-key" in marker.args for marker in request.node.iter_markers("needs")):
        return
    for name in ("CARTESIA_API_KEY", "CARTESIA_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def virtual_clock(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Time jumps to the next event while a coroutine runs, unless it is marked with `real_clock`.

    Frameworks, sockets and servers are the real ones; a second of the test takes what it computes.
    """
    if request.node.get_closest_marker("real_clock") or not inspect.iscoroutinefunction(
        request.function
    ):
        yield
        return
    with VirtualClock(epoch=1_800_000_000.0):
        yield


@pytest.fixture(scope="session")
def audio_dir() -> Path:
    """The shared recordings; mark the test with `needs("audio")`."""
    folder = audio_folder()
    assert folder, 'a test that uses audio_dir must be marked with needs("audio")'
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Free the garbage collector of what lives as long as the run: two frameworks, all tests.

    It would search some 400,000 objects (0.25 s) whenever a test, or a pipeline of Pipecat that
    ends, asks for a collection, and many times while tests are collected.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for what in marker.args:
            need = missing(what)
            if need is None:
                continue
            item.stash[_EXCUSED] = not need.installable
            pytest.skip(f"needs {what}: {need.advice}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not item.stash.get(_EXCUSED, False):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Under `CI=true` a skip for want of something that could be installed is a failure."""
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = cast("tuple[str, int, str]", report.longrepr)[2]
    if "INK_AUDIO_DIR" not in reason:
        report.outcome = "failed"
        report.longrepr = f"under CI=true nothing installable may be missing: {reason}"
