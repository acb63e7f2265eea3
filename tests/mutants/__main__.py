"""Change the core in many small ways, and see whether a test notices each.

    python -m tests.mutants                       the named mutants, and a sample of 300 of all
    python -m tests.mutants --count 40 turns/replay.py
    python -m tests.mutants --list turns/replay.py

Those that survive are printed. The ones of `survivors.txt` are known, with the reason why no test
can or need notice them; they are not played.
"""

from __future__ import annotations

import argparse
import random
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mutants.operators import Mutant, mutants
from tests.mutants.player import CORE, OPTIONS, ROOT, Player

ROOMS = ("stream", "turns", "manual", "net")
SURVIVORS = Path(__file__).parent / "survivors.txt"
NAMED = Path(__file__).parent / "named.toml"


def known_survivors() -> dict[str, str]:
    """Return why each known survivor is none that a test has to notice, by its name."""
    known, reason = dict[str, str](), ""
    for line in SURVIVORS.read_text().splitlines():
        if line.startswith("# "):
            reason = line.removeprefix("# ")
        elif line:
            known[line] = reason
    return known


def named_mutants(parts: list[str]) -> list[Mutant]:
    """Return the mutants that are written down, each of a kind of fault that was once missed."""
    found = []
    for entry in tomllib.loads(NAMED.read_text())["mutant"]:
        path = (CORE / entry["module"]).as_posix()
        source = (ROOT / path).read_text()
        before, change, behind = source.partition(entry["before"])
        if not change or entry["before"] in behind:
            raise ValueError(f"{path} must have once what {entry['kind']!r} changes")
        if not parts or any(part in path for part in parts):
            line = before.count("\n") + 1
            changed = before + entry["after"] + behind
            found.append(Mutant(path, "named", line, entry["kind"], changed))
    return found


def all_mutants(parts: list[str]) -> list[Mutant]:
    """Return the mutants of the modules of which a part of the path is given; of all, if none."""
    found = []
    for room in ROOMS:
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
    if options.list:
        print(*(f"{mutant.path}:{mutant.line} {mutant.change}" for mutant in found), sep="\n")
        return 0
    chosen = [mutant for mutant in found if mutant.name not in known]
    random.Random(options.seed).shuffle(chosen)
    chosen = chosen[: options.count or None]
    named = named_mutants(options.modules)
    print(f"{len(found)} mutants, {len(chosen)} of them played, and {len(named)} named ones")
    player = Player([*named, *chosen], options.workers)
    status = pytest.main(OPTIONS, plugins=[player])
    if status != pytest.ExitCode.OK:
        return int(status)
    of_sample = [mutant for mutant in player.survivors if mutant.function != "named"]
    noticed = 1 - len(of_sample) / max(1, len(chosen))
    print(f"{noticed:.1%} of the sample of seed {options.seed} were noticed")
    return int(noticed < 0.92 or len(of_sample) < len(player.survivors))


if __name__ == "__main__":
    sys.exit(main())
