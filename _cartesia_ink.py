"""The command `cartesia-ink`, as it is installed.

It is no part of the package, whose import takes a while: Ctrl-C is to end that quietly, too.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130


def main() -> int:
    """Run a command; until its event loop runs, Ctrl-C ends the program at once."""
    signal.signal(signal.SIGINT, _leave)
    from cartesia_ink_plugins.cli.main import main as run_command

    return run_command()


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception would be lost, or shown, in some of the modules that are being imported.
    os._exit(INTERRUPTED)
