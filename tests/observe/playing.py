"""A scripted call in virtual time, with taps: everything an observer tells has a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cartesia_ink_plugins.core.tap import MomentKind, SessionStart, Tap
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Trouble, World

EPOCH = 1000.0
"""Wall-clock time at the beginning of every call, in seconds."""


def begin(
    script: Script, faults: Sequence[Trouble] = (), *, taps: Sequence[Tap], **options: Any
) -> World:
    """Return a call that has begun, as a client begins it; `run` plays it."""
    world = World(script, faults, taps=taps, **options)
    session = world.session
    start = SessionStart("ink-test", world.options, EPOCH, session.snapshot)
    session.taps.on(world.now, MomentKind.STARTED, start)
    return world


def play(
    script: Script, faults: Sequence[Trouble] = (), *, taps: Sequence[Tap], **options: Any
) -> World:
    """Play a whole call."""
    return begin(script, faults, taps=taps, **options).run()
