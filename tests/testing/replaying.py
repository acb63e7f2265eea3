"""Recorded calls, made in virtual time: with drops, predicted ends and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.recorder import Recorder
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.testing import Recording
from tests.core.world import Away, Closing, Fault, Reset, World
from tests.observe.playing import play

History = list[tuple[float, str, str | None]]
_WRITING = 30.0  # seconds that a busy machine may take to write

_TURNS = (
    "Hello there.",
    "A table ... for two.",
    "Yes.",
    "I would like to book ... a table ... at seven.",
)
_FAULTS: tuple[list[Fault], ...] = (
    [],
    [Reset(2.0)],
    [Away(1.5, 1.0)],
    [Closing(3.0, code=1011)],
    [Reset(1.2), Reset(3.0)],
)
CALLS = 20


def recorded(number: int, folder: Path) -> tuple[Recording, History]:
    """Record one of the calls; return it with the events that the application received."""
    script = Script(*_TURNS[number % len(_TURNS) :], "Good bye.")
    path = folder / f"{number}.ink"
    recorder = Recorder(RecordOptions(path))
    world = play(script, _FAULTS[number % len(_FAULTS)], taps=[recorder.tap()], seed=number)
    recorder.close(_WRITING)
    return Recording(path), history(world)


def replayed(recording: Recording, seed: int = 0) -> History:
    """Play a recorded call in virtual time; return the events that the application received."""
    script = cast("Script", recording)  # a world asks it for its audio and its engine only
    return history(World(script, seed=seed).run())


def history(world: World) -> History:
    """When the application received which event, with its text."""
    return [
        (round(time, 6), type(event).__name__, getattr(event, "transcript", None))
        for time, event in world.history
    ]
