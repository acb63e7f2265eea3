"""Recorded calls, made in virtual time: with drops, predicted ends, resumes and mutes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.reader import RecordedCall
from cartesia_ink_plugins.observe.recorder import Recorder
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import Outage, Reset
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.testing import Caller, Recording
from tests.core.world import Timed, Trouble, World
from tests.observe.playing import play

History = list[tuple[float, str, str | None]]
_WRITING = 30.0  # seconds that a busy machine may take to write
_SCHEDULED = Path("/proc/thread-self/schedstat")

_TURNS = (
    "Hello there.",
    "A table ... for two.",
    "Yes.",
    "I would like to book ... a table ... at seven.",
)
_FAULTS: tuple[list[Trouble], ...] = (
    [],
    [Timed(2.0, Reset())],
    [Timed(1.5, Outage(1.0))],
    [Timed(3.0, Close(1011))],
    [Timed(1.2, Reset()), Timed(3.0, Reset())],
)
# Seconds in which the caller's microphone is muted: in the middle of a turn, and between two.
_MUTED: tuple[list[tuple[float, float]], ...] = ([], [(1.4, 2.6)], [(4.0, 5.5), (7.0, 7.6)])
CALLS = 20
MUTED_AND_LOST = 19
"""The number of a call with a mute and two lost connections."""
_NAMES = ("session_id", "request_id", "options", "message")


def recorded(number: int, folder: Path) -> tuple[Recording, History]:
    """Record one of the calls; return it with the events that the application received."""
    script = Script(*_TURNS[number % len(_TURNS) :], "Good bye.")
    path = folder / f"{number}.ink"
    recorder = Recorder(RecordOptions(path))
    world = play(
        script,
        _FAULTS[number % len(_FAULTS)],
        taps=[recorder.tap()],
        seed=number,
        muted=_MUTED[number % len(_MUTED)],
    )
    recorder.close(_WRITING)
    return Recording(path), history(world)


def replayed(recording: Recording, seed: int = 0) -> History:
    """Play a recorded call in virtual time; return the events that the application received."""
    script = cast("Script", recording)  # a world asks it for its audio and its engine only
    return history(World(script, seed=seed, muted=muted(recording)).run())


def muted(recording: Recording) -> list[tuple[float, float]]:
    """Where no audio came in a recorded call, in seconds of its sound."""
    parts = [
        (start, start + len(pcm) / AudioFormat().byte_rate) for start, pcm in recording.parts()
    ]
    return [(end, start) for (_, end), (start, _) in itertools.pairwise(parts)]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a bot did in a recorded call, on a virtual clock.

    Attributes:
        history: Every frame or event of the framework, and every line of the bot's own recording.
        call: That recording.
        clock: Seconds that it took.
        processor: Seconds of the processor that it took.
        waited: Seconds in which it could have gone on, and other programs had the processors; 0
            where the system does not tell.
    """

    history: list[str]
    call: RecordedCall
    clock: float
    processor: float
    waited: float


async def replay(
    caller: Caller, bot: Any, history: Callable[[], list[str]], agent: Any = None
) -> Replay:
    """Play the recording that the caller's server has.

    Args:
        caller: Who calls.
        bot: As for `Caller.play`.
        history: Returns what the framework has done.
        agent: As for `Caller.play`.
    """
    began = _clocks()
    call = await caller.play(bot, agent, clock="virtual")
    spent = [end - start for start, end in zip(began, _clocks(), strict=True)]
    return Replay([*history(), *_moments(call)], call, *spent)


def _clocks() -> tuple[float, float, float]:
    """Read the clock, this process's time of the processor, and this thread's wait for one."""
    try:  # see "schedstats" in the documentation of Linux
        waited = int(_SCHEDULED.read_text().split()[1]) / 1e9
    except OSError:
        waited = 0.0
    return time.perf_counter(), time.process_time(), waited


def _moments(call: RecordedCall) -> list[str]:
    """What a recording says of a call, line by line, but for names that are new in every call."""
    lines = []
    for moment in call.moments:
        fields = {name: value for name, value in moment.fields.items() if name not in _NAMES}
        numbers = f"{moment.session} {moment.connection} {moment.turn}"
        lines.append(f"{moment.t} {moment.kind} {numbers} {fields}")
    return lines


def history(world: World) -> History:
    """When the application received which event, with its text."""
    return [
        (round(time, 6), type(event).__name__, getattr(event, "transcript", None))
        for time, event in world.history
    ]
