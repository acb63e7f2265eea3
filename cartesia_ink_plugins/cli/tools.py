"""The package `cartesia-ink-tools`: what is in it, and what to say where it is not installed.

What people use who develop a bot, and a bot in production does not, is in a wheel of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from cartesia_ink_plugins.core.errors import UsageError

TOOLS = "pip install cartesia-ink-tools"
SPEECH = "pip install 'cartesia-ink-tools[speech]'"
DEMO = "pip install 'cartesia-ink-tools[demo]'"

COMMANDS: Mapping[str, str] = {
    "demo": DEMO,
    "talk": DEMO,
    "transcribe": SPEECH,
    "doctor": TOOLS,
    "timeline": TOOLS,
}
"""The commands of that package, and what installs each."""


def missing(what: str, install: str) -> UsageError:
    """Say that a part of the package is not installed, and how to install it.

    Args:
        what: The part, as the subject of a sentence.
        install: What installs it.
    """
    return UsageError(f"{what} is in a package of its own: {install}")
