"""The package `cartesia-ink-offline`: what is in it, and what to say where it is not installed.

Speech recognition for the local server, the demo and `talk` are in a wheel of their own, so that a
bot does not download them.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.errors import UsageError

COMMANDS = ("demo", "talk")
"""The commands of that package."""

INSTALL = "pip install cartesia-ink-offline"


def missing(what: str, command: str = INSTALL) -> UsageError:
    """Say that a part of the package is not installed, and how to install it.

    Args:
        what: The part, as the subject of a sentence.
        command: What installs it.
    """
    return UsageError(f"{what} is in a package of its own: {command}")
