"""How long a timeline takes, and how large its page is: `python -m benchmarks.timeline`.

Calls of speech in both channels, with a turn every six seconds, as FLAC where soundfile is there.
The times are those of the whole command without the start of Python, the best of five: on the
clock, and of the processor, which matters on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cartesia_ink_plugins.cli.main import main as command_line
from tests.observe.timeline.planted import long_call


def measured(recording: Path, output: Path, rounds: int) -> tuple[float, float]:
    """Seconds that the command takes at best: on the clock, and of the processor."""
    clock, processor = [], []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            command_line(["timeline", str(recording), "-o", str(output)])
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return min(clock), min(processor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 5, 10], help="of each call")
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts")
    options = parser.parse_args(arguments)
    print("| Call | Clock | Processor | Page |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            recording = long_call(minutes).write(Path(folder) / f"{minutes}.ink", flac=True)
            output = Path(folder) / f"{minutes}.html"
            clock, processor = measured(recording, output, options.rounds)
            size = output.stat().st_size / 1e6
            print(f"| {minutes} min | {clock:.2f} s | {processor:.2f} s | {size:.2f} MB |")


if __name__ == "__main__":
    main()
