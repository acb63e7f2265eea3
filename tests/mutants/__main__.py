"""Change the core in many small ways, and see whether a test notices each.

    python -m tests.mutants                       a sample of 300 of all mutants
    python -m tests.mutants --count 40 turns/replay.py
    python -m tests.mutants --list turns/replay.py

A mutant is played in a process of its own, which imports the changed module in place of the real
one, and runs the tests of its room until one fails. Those that survive are printed. The ones of
`survivors.txt` are known, with the reason why no test can or need notice them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.mutants.operators import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("cartesia_ink_plugins/core")
SURVIVORS = Path(__file__).parent / "survivors.txt"
# Tests of the whole core without sockets, the quick ones first. `stream` belongs to both endpoints.
TURNS = """
    tests/core/turns tests/core/test_session.py tests/core/test_outages.py
    tests/core/test_bounded_reconnects.py tests/core/test_stray_answers.py
    tests/core/test_hardship.py tests/core/test_long_turns.py tests/core/test_misuse.py
    tests/core/test_chaos.py
""".split()
MANUAL = ["tests/core/manual", "tests/core/test_manual.py", "tests/core/test_manual_chaos.py"]
NET = """
    tests/core/net tests/core/test_client.py tests/core/test_manual_client.py tests/core/test_log.py
    tests/core/test_insecure.py tests/core/test_secrets.py tests/core/test_credentials.py
""".split()
TESTS = {
    "stream": ["tests/core/stream", *TURNS, *MANUAL, *NET],
    "turns": [*TURNS, *NET],
    "manual": [*MANUAL, *NET],
    "net": NET,
}
# A mutant that takes so much longer than all tests hangs, and is noticed by that.
CPU_SECONDS = 300


class Changed:
    """Imports one module from other text than that of its file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.path.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Answer for the module that is changed, and for no other."""
        if name != self._name:
            return None
        return importlib.util.spec_from_loader(name, self, origin=self._mutant.path)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed text."""
        module.__file__ = str(ROOT / self._mutant.path)
        exec(compile(self._mutant.source, self._mutant.path, "exec"), module.__dict__)


def suite_of(path: str) -> list[str]:
    """Return the tests that may notice a change of a module, its own first."""
    module = Path(path).relative_to(CORE)
    own = Path("tests/core", module.parent, f"test_{module.name}")
    rest = TESTS[module.parts[0]]
    return [str(own), *rest] if (ROOT / own).is_file() else rest


def play(mutant: Mutant) -> bool:
    """Run the tests in this process, which is nothing but this; tell whether one failed."""
    with open(os.devnull, "w") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    sys.meta_path.insert(0, Changed(mutant))
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout", "60"]
    return pytest.main([*options, *suite_of(mutant.path)]) != pytest.ExitCode.OK


def start(mutant: Mutant) -> int:
    """Play a mutant in a child; its exit status is 0 if it survives."""
    child = os.fork()
    if child == 0:
        noticed = True
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            noticed = play(mutant)
        os._exit(int(noticed))
    return child


def played(chosen: list[Mutant], workers: int) -> Iterator[tuple[Mutant, bool]]:
    """Play all, so many at a time; yield each with whether it was noticed, as they end."""
    waiting, running = list(reversed(chosen)), dict[int, Mutant]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                mutant = waiting.pop()
                running[start(mutant)] = mutant
            child, status = os.wait()
            yield running.pop(child), status != 0
    finally:
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)


def known_survivors() -> dict[str, str]:
    """Return why each known survivor is none that a test has to notice, by its name."""
    known, reason = dict[str, str](), ""
    for line in SURVIVORS.read_text().splitlines():
        if line.startswith("# "):
            reason = line.removeprefix("# ")
        elif line:
            known[line] = reason
    return known


def all_mutants(parts: list[str]) -> list[Mutant]:
    """Return the mutants of the modules of which a part of the path is given; of all, if none."""
    found = []
    for room in TESTS:
        for file in sorted((ROOT / CORE / room).glob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if not parts or any(part in path for part in parts):
                found += list(mutants(path, file.read_text()))
    return found


def main() -> int:
    """Play a sample and print what survives; the status is 1 if that is more than 8 %."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="parts of paths, such as turns/replay.py")
    parser.add_argument("--count", type=int, default=300, help="how many; 0 for all")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time")
    parser.add_argument("--list", action="store_true", help="print them, and play none")
    options = parser.parse_args()
    known, found = known_survivors(), all_mutants(options.modules)
    chosen = [mutant for mutant in found if mutant.name not in known]
    random.Random(options.seed).shuffle(chosen)
    chosen = chosen[: options.count or None]
    if options.list:
        print(*(f"{mutant.path}:{mutant.line} {mutant.change}" for mutant in found), sep="\n")
        return 0
    print(f"{len(found)} mutants, {len(found) - len(chosen)} not played", flush=True)
    began, survivors = time.monotonic(), 0
    for count, (mutant, is_noticed) in enumerate(played(chosen, options.workers), 1):
        if not is_noticed:
            survivors += 1
            print(f"survived: {mutant.path}:{mutant.line}\n{mutant.name}", flush=True)
        if count % 25 == 0 or count == len(chosen):
            minutes = (time.monotonic() - began) / 60
            print(f"{count} played, {survivors} survived, {minutes:.1f} min", flush=True)
    return int(survivors > 0.08 * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
