"""`python -m tests.fuzz`: many inputs, and a table of what came of them.

python -m tests.fuzz --inputs 50000 --seed 7
python -m tests.fuzz --target byte_stream --seed 7 --only 1234    # one input once more
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from collections import Counter

from tests.fuzz.running import InputFailedError, run_one
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run inputs on every target in turn; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=50_000, help="of all targets (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only this input")
    args = parser.parse_args()
    names = args.target or list(TARGETS)
    count = -(-args.inputs // len(names))
    numbers = range(count) if args.only is None else [args.only]
    failures = total = 0
    began = time.perf_counter()
    for name in names:
        outcomes: Counter[str] = Counter()
        slowest = (0.0, 0)
        for number in numbers:
            start = time.process_time()
            try:
                outcomes[run_one(name, args.seed, number)] += 1
            except InputFailedError as error:
                failures += 1
                outcomes["FAILED"] += 1
                if outcomes["FAILED"] <= 3:
                    traceback.print_exception(error.__cause__)
                    print(error, flush=True)
            slowest = max(slowest, (time.process_time() - start, number))
        total += len(numbers)
        shown = ", ".join(f"{count} {what}" for what, count in outcomes.most_common(6))
        print(f"{name:18} {len(numbers):6}  slowest {slowest[0]:.2f} s  {shown}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{total} inputs, seed {args.seed}, {failures} failed, "
        f"{time.perf_counter() - began:.0f} s, at most {peak} MiB"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
