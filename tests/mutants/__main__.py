"""Change the core in many small ways, and see whether a test notices each.

    python -m tests.mutants                       the named mutants, and a sample of 300 of all
    python -m tests.mutants --seed 7              another sample
    python -m tests.mutants --count 0 turns/replay.py
    python -m tests.mutants --list turns/replay.py

The sample has its share of every module; the seed chooses it. The run ends within 30 minutes on two
cores: after 25 it starts no other mutant, and what was played by then is the sample. The first run
of a checkout measures the tests as well, in 3 minutes of CPU time.

Those that survive are printed, and then how many were noticed: of how many, and the range in which
that share of all mutants lies with a probability of 95 %. The ones of `survivors.txt` are known,
with the reason why no test can or need notice them; they are not played.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tomllib
from collections import defaultdict
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


def sampled(found: list[Mutant], seed: int) -> list[Mutant]:
    """Return mutants in the order of a sample: each beginning of it has its share of each module.

    Args:
        found: All of them.
        seed: Chooses the sample.
    """
    chance, modules = random.Random(seed), defaultdict[str, list[Mutant]](list)
    for mutant in found:
        modules[mutant.path].append(mutant)
    placed: list[tuple[float, Mutant]] = []
    for mutants_of_module in modules.values():
        chance.shuffle(mutants_of_module)
        size = len(mutants_of_module)
        shift = chance.random()
        placed += [((at + shift) / size, one) for at, one in enumerate(mutants_of_module)]
    return [mutant for _, mutant in sorted(placed, key=lambda pair: pair[0])]


def interval(noticed: int, played: int) -> tuple[float, float]:
    """Return the range of a share with a probability of 95 %: Wilson's interval."""
    z = 1.96  # standard deviations to either side that hold 95 % of a normal distribution
    share, spread = noticed / played, z * z / played
    middle = share + spread / 2
    half = z * math.sqrt((share * (1 - share) + spread / 4) / played)
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def main() -> int:
    """Play a sample and print what survives; the status is 1 if that is more than 8 %."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("modules", nargs="*", help="parts of paths, such as turns/replay.py")
    parser.add_argument("--count", type=int, default=300, help="how many; 0 for all")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time")
    parser.add_argument("--minutes", type=float, default=25.0, help="start none later than this")
    parser.add_argument("--list", action="store_true", help="print them, and play none")
    options = parser.parse_args()
    known, found = known_survivors(), all_mutants(options.modules)
    if options.list:
        print(*(f"{mutant.path}:{mutant.line} {mutant.change}" for mutant in found), sep="\n")
        return 0
    chosen = [mutant for mutant in found if mutant.name not in known]
    chosen = sampled(chosen, options.seed)[: options.count or None]
    named = named_mutants(options.modules)
    print(f"{len(found)} mutants, {len(chosen)} of them to play, and {len(named)} named ones")
    player = Player([*named, *chosen], options.workers, options.minutes)
    status = pytest.main(OPTIONS, plugins=[player])
    if status != pytest.ExitCode.OK:
        return int(status)
    of_sample = [mutant for mutant in player.survivors if mutant.function != "named"]
    played = player.count - len(named)
    if played <= 0:
        print("no mutant was played")
        return 1
    noticed = played - len(of_sample)
    low, high = interval(noticed, played)
    print(
        f"{noticed / played:.1%} of a sample of {played} were noticed (seed {options.seed}); "
        f"of all, {low:.1%} to {high:.1%} with a probability of 95 %"
    )
    return int(noticed / played < 0.92 or len(of_sample) < len(player.survivors))


if __name__ == "__main__":
    sys.exit(main())
