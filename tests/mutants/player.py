"""Plays mutants: a plugin of pytest, which runs the tests of each in a process of its own.

All modules are imported and all tests are collected once. A first run notes which functions of
the core each test calls, and for how long it runs. Each mutant is then a fork of this process in
which one function has other code; of the tests that call it the quick ones run first, until one
fails.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType

import pytest

from tests.mutants.operators import Mutant

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("cartesia_ink_plugins/core")
# Tests of the vocabulary, and the soak test, notice nothing of the four rooms that these do not.
OPTIONS = """
    -q -p no:cacheprovider -p no:xdist -p no:randomly --capture sys --timeout 150
    tests/core/stream tests/core/turns tests/core/manual tests/core/net
    tests/core/test_session.py tests/core/test_outages.py tests/core/test_bounded_reconnects.py
    tests/core/test_stray_answers.py tests/core/test_hardship.py tests/core/test_long_turns.py
    tests/core/test_misuse.py tests/core/test_chaos.py tests/core/test_manual.py
    tests/core/test_manual_chaos.py tests/core/test_client.py tests/core/test_manual_client.py
    tests/core/test_log.py tests/core/test_log_chart.py tests/core/test_insecure.py
    tests/core/test_secrets.py tests/core/test_credentials.py tests/core/test_tap.py
    tests/core/test_stats.py tests/observe/test_log_line.py
""".split()
# What the first run noted is kept, and done again for tests whose file has changed.
CACHE = ROOT / ".cache" / "mutants"
# Seconds of CPU time that the tests of one mutant may take, as the first run measured them.
BUDGET = 40.0
# Seconds that a test may take with a mutant, and how many times as long as in the first run. One
# that takes longer hangs, which is noticed. A busy machine makes real time longer than CPU time.
CPU_SECONDS, CPU_FACTOR = 5, 5
REAL_SECONDS, REAL_FACTOR = 20, 20

Function = tuple[str, str]
"""The file and the qualified name of a function, or of two, such as a property and its setter."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the first run noted of a test: the functions that it calls, and its CPU seconds."""

    calls: frozenset[Function]
    seconds: float
    has_failed: bool


class Player:
    """Plays the mutants in place of pytest's own loop over the tests.

    Attributes:
        survivors: Those that no test noticed.
        count: How many were played.
    """

    def __init__(self, chosen: list[Mutant], workers: int, minutes: float) -> None:
        """Play some mutants, so many at a time, and start none after so many minutes."""
        self.survivors: list[Mutant] = []
        self.count = 0
        self._chosen = chosen
        self._workers = workers
        self._last_start = time.monotonic() + 60 * minutes
        self._has_failed = False
        self._functions = dict[Function, list[FunctionType]]()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the first group of each kind of chaos: what one notices, others notice too."""
        items[:] = [item for item in items if _is_first_group(item)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember that a test failed."""
        self._has_failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Play all, and print those that survive."""
        began = time.monotonic()
        self._functions = _core_functions()
        runs = self._first_run(session.items)
        print(f"\nfirst run: {_minutes(began)}", flush=True)
        for item, run in zip(session.items, runs, strict=True):
            if run.has_failed:
                print(f"not used, since it fails without a change: {item.nodeid}", flush=True)
        for mutant, is_noticed in self._played(session.items, runs):
            self.count += 1
            if not is_noticed:
                self.survivors.append(mutant)
                print(f"survived: {mutant.path}:{mutant.line}\n{mutant.name}", flush=True)
            if self.count % 25 == 0:
                self._print_progress(began)
        self._print_progress(began)
        return True

    # --- inside -------------------------------------------------------------------------------

    def _print_progress(self, began: float) -> None:
        found = len(self.survivors)
        print(f"{self.count} played, {found} survived, {_minutes(began)}", flush=True)

    def _first_run(self, items: list[pytest.Item]) -> list[Run]:
        """Run each test without a change, in as many processes as may be used."""
        CACHE.mkdir(parents=True, exist_ok=True)
        keys = [_key(item) for item in items]  # the files may change meanwhile
        known = {key: run for key, run in _noted().items() if not run.has_failed}
        missing = [pair for pair in zip(items, keys, strict=True) if pair[1] not in known]
        for worker in range(self._workers):
            if os.fork() == 0:
                with contextlib.suppress(BaseException):
                    _be_silent()
                    self._note(missing[worker :: self._workers])
                os._exit(0)
        for _ in range(self._workers):
            os.wait()
        known = _noted()
        lost = [item.nodeid for item, key in zip(items, keys, strict=True) if key not in known]
        if lost:
            raise RuntimeError(
                f"{len(lost)} tests were not run; one, such as {lost[0]}, ended its own process. "
                "The next call runs what is missing."
            )
        return [known[key] for key in keys]

    def _note(self, missing: list[tuple[pytest.Item, str]]) -> None:
        following = [item for item, _ in missing[1:]]
        for (item, key), after in zip(missing, [*following, None], strict=True):
            run = self._run_of(item, after)
            with open(CACHE / f"{os.getpid()}.pickle", "ab") as file:
                pickle.dump((key, run), file)

    def _run_of(self, item: pytest.Item, following: pytest.Item | None) -> Run:
        calls = set[Function]()
        files = {file for file, _ in self._functions}

        def note(frame: FrameType, event: str, arg: object) -> None:
            code = frame.f_code
            if code.co_filename in files:
                calls.add((code.co_filename, code.co_qualname))

        self._has_failed, began = False, time.process_time()
        sys.settrace(note)
        threading.settrace(note)
        try:
            self._run(item, following)
        finally:
            sys.settrace(None)
            threading.settrace(None)
        return Run(frozenset(calls), time.process_time() - began, self._has_failed)

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    def _played(self, items: list[pytest.Item], runs: list[Run]) -> Iterator[tuple[Mutant, bool]]:
        """Yield each mutant with whether it was noticed, as they end."""
        waiting, running = list(reversed(self._chosen)), dict[int, Mutant]()
        try:
            while waiting or running:
                if time.monotonic() > self._last_start:
                    waiting.clear()
                while waiting and len(running) < self._workers:
                    mutant = waiting.pop()
                    running[self._start(mutant, items, runs)] = mutant
                if not running:
                    return
                child, status = os.wait()
                mutant = running.pop(child)
                if status and os.waitstatus_to_exitcode(status) == 2:
                    raise RuntimeError(f"cannot be played: {mutant.name}")
                yield mutant, status != 0
        finally:
            for child in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)

    def _start(self, mutant: Mutant, items: list[pytest.Item], runs: list[Run]) -> int:
        """Play a mutant in a child, whose exit status is 0 if it survives."""
        file, code = changed_code(mutant)
        function = (file, code.co_qualname)
        child = os.fork()
        if child == 0:
            status = 2
            with contextlib.suppress(BaseException):
                os.setpgid(0, 0)
                _be_silent()
                for found in self._functions[function]:
                    if found.__code__.co_firstlineno == code.co_firstlineno:
                        found.__code__ = code
                status = int(self._is_noticed(_tests(mutant, function, items, runs)))
            os._exit(status)
        return child

    def _is_noticed(self, chosen: list[tuple[pytest.Item, Run]]) -> bool:
        """Whether one of the tests fails; those behind it are not run."""
        items = [item for item, _ in chosen]
        try:
            for (item, run), following in zip(chosen, [*items[1:], None], strict=True):
                _limit(item, run.seconds)
                self._run(item, following)
                if self._has_failed:
                    return True
        except BaseException:
            return True  # it ended the run of the tests
        return False


def changed_code(mutant: Mutant) -> tuple[str, CodeType]:
    """Return the file of a mutant, and the code of the function that differs."""
    module = importlib.import_module(mutant.path.removesuffix(".py").replace("/", "."))
    assert module.__file__ is not None
    found = _code_of_functions(compile(mutant.source, module.__file__, "exec"))
    before = [code for code in found if code.co_firstlineno <= mutant.line]
    return module.__file__, max(before, key=lambda code: code.co_firstlineno)


def _code_of_functions(code: CodeType) -> Iterator[CodeType]:
    """Return the functions of a module and its classes, but none that is inside of a function."""
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        if constant.co_flags & 0x2:  # CO_NEWLOCALS: a function, no class
            yield constant
        else:
            yield from _code_of_functions(constant)


def _key(item: pytest.Item) -> str:
    """Return a name of a test that is another one once its file has changed."""
    return f"{item.nodeid} {zlib.crc32(item.path.read_bytes())}"


def _noted() -> dict[str, Run]:
    """Return what this and former first runs noted of each test."""
    noted = dict[str, Run]()
    for path in CACHE.glob("*.pickle"):
        with open(path, "rb") as file, contextlib.suppress(EOFError):
            while True:
                key, run = pickle.load(file)
                noted[key] = run
    return noted


def _core_functions() -> dict[Function, list[FunctionType]]:
    """Return all functions of the core that exist by now."""
    found = defaultdict[Function, list[FunctionType]](list)
    core = str(ROOT / CORE)
    for candidate in gc.get_objects():
        if isinstance(candidate, FunctionType):
            code = candidate.__code__
            if code.co_filename.startswith(core):
                found[code.co_filename, code.co_qualname].append(candidate)
    return dict(found)


def _tests(
    mutant: Mutant, function: Function, items: list[pytest.Item], runs: list[Run]
) -> list[tuple[pytest.Item, Run]]:
    """Return the tests that call the changed function: those of its module first, then by time."""
    module = Path(mutant.path)
    own = f"tests/{module.parent.relative_to(CORE.parent)}/test_{module.name}"
    able = [
        (not item.nodeid.startswith(own), run.seconds, index)
        for index, (item, run) in enumerate(zip(items, runs, strict=True))
        if function in run.calls and not run.has_failed
    ]
    chosen, spent = list[tuple[pytest.Item, Run]](), 0.0
    for _, seconds, index in sorted(able):
        spent += seconds
        if spent > BUDGET:
            break
        chosen.append((items[index], runs[index]))
    return chosen


def _limit(item: pytest.Item, seconds: float) -> None:
    """End the process, or the test, if a test takes far longer than the first run measured."""
    real = REAL_SECONDS + REAL_FACTOR * seconds
    item.add_marker(pytest.mark.timeout(real), append=False)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime + CPU_SECONDS + CPU_FACTOR * seconds
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, resource.RLIM_INFINITY))


def _is_first_group(item: pytest.Item) -> bool:
    if "test_chaos.py" not in item.nodeid:
        return True
    return isinstance(item, pytest.Function) and item.name.endswith(("-0]", "[0]"))


def _be_silent() -> None:
    with open(os.devnull, "w") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)


def _minutes(began: float) -> str:
    return f"{(time.monotonic() - began) / 60:.1f} min"
