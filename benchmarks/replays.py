"""Whether replays of a call are the same, and how fast they are: `python -m benchmarks.replays`.

Recorded calls with lost connections, predicted ends, resumes and mutes are played on a virtual
clock through a Pipecat pipeline and through an AgentSession. The history of a replay is every
frame that a processor pushes, or every event of the session and of its STT, and every line of the
bot's own recording, with their times in microseconds. Its digest is printed, so that replays of
other processes and machines can be compared with these.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from loguru import logger

from cartesia_ink_plugins.testing import Recording
from tests.livekit.replayed import replayed as livekit
from tests.pipecat.replayed import replayed as pipecat
from tests.testing.replaying import CALLS, Replay, recorded

_TIMED = 3  # replays of a call whose time is taken, while nobody writes down what happens


class Play(Protocol):
    """Plays a call to a bot of one framework."""

    def __call__(  # noqa: D102
        self, recording: Recording, path: Path, *, watched: bool = True
    ) -> Coroutine[None, None, Replay]: ...


FRAMEWORKS: dict[str, Play] = {"Pipecat": pipecat, "LiveKit": livekit}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--rounds", type=int, default=100, help="replays of each call")
    parser.add_argument("--framework", choices=FRAMEWORKS, nargs="+", default=list(FRAMEWORKS))
    parser.add_argument("--differences", action="store_true", help="print where a replay differs")
    options = parser.parse_args(arguments)
    logger.remove()
    logging.disable(logging.ERROR)
    print(
        "| Framework | Call | Replays | Identical | Lines | History "
        "| × real time | Waited for a processor | × real time without | × processor time |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = [recorded(number, folder)[0] for number in range(options.calls)]
        for framework in options.framework:
            total = Figures()
            for number, recording in enumerate(recordings):
                figures = measured(FRAMEWORKS[framework], recording, folder, options.rounds)
                total += figures
                print(f"| {framework} | {number} {figures}", flush=True)
                if options.differences:
                    figures.show_differences()
            print(f"| {framework} | all {total}", flush=True)


@dataclass(slots=True)
class Figures:
    """What replays came to.

    Attributes:
        histories: How often each was seen; of several calls none.
        replays: How many there were.
        identical: How many had the history that is seen most.
        lines: Of that history.
        digest: Of that history; of several calls that of their digests.
        seconds: How long the calls are, in replays whose time was taken.
        clock: Seconds that those took whose time was taken.
        processor: Seconds of the processor that those took.
        waited: Seconds in which other programs had the processors, so that those waited.
    """

    histories: Counter[tuple[str, ...]] = field(default_factory=Counter)
    replays: int = 0
    identical: int = 0
    lines: int = 0
    digest: str = ""
    seconds: float = 0.0
    clock: float = 0.0
    processor: float = 0.0
    waited: float = 0.0

    def __iadd__(self, other: Self) -> Self:
        """Add those of another call."""
        for name in ("replays", "identical", "lines", "seconds", "clock", "processor", "waited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.digest = _digest([self.digest, other.digest])
        return self

    def __str__(self) -> str:
        """The cells of a row behind the call."""
        return (
            f"| {self.replays} | {self.identical} | {self.lines} | {self.digest} "
            f"| {self.seconds / self.clock:.1f} | {self.waited / self.clock:.0%} "
            f"| {self.seconds / (self.clock - self.waited):.1f} "
            f"| {self.seconds / self.processor:.1f} |"
        )

    def show_differences(self) -> None:
        """Print where histories begin to differ from the one that is seen most."""
        [(most, _), *others] = self.histories.most_common()
        for other, times in others:
            place = next(
                (n for n, (a, b) in enumerate(zip(most, other, strict=False)) if a != b), 0
            )
            print(f"  {times} times, from line {place}:")
            for history in (most, other):
                print("    " + "\n    ".join(history[max(place - 2, 0) : place + 4]))


def measured(play: Play, recording: Recording, folder: Path, rounds: int) -> Figures:
    """Play a call so many times, and some more whose time is taken."""
    figures = Figures(replays=rounds)
    path = folder / "replay.ink"
    for _ in range(rounds):
        figures.histories[tuple(asyncio.run(play(recording, path)).history)] += 1
        path.unlink()
    [(most, figures.identical)] = figures.histories.most_common(1)
    figures.lines, figures.digest = len(most), _digest(most)
    for _ in range(_TIMED):
        replay = asyncio.run(play(recording, path, watched=False))
        path.unlink()
        figures.clock += replay.clock
        figures.processor += replay.processor
        figures.waited += replay.waited
        figures.seconds += max(moment.t for moment in replay.call.moments)
    return figures


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


if __name__ == "__main__":
    main()
