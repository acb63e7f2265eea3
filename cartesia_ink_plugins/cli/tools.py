"""The package `cartesia-ink-tools`: what is in it, and what to say where it is not installed.

What people use who develop a bot, and a bot in production does not, is in a wheel of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

TOOLS = "pip install cartesia-ink-tools"
SPEECH = "pip install 'cartesia-ink-tools[speech]'"
DEMO = "pip install 'cartesia-ink-tools[demo]'"

COMMANDS: Mapping[str, str] = {
    "demo": DEMO,
    "talk": DEMO,
    "transcribe": SPEECH,
    "serve": SPEECH,
    "doctor": TOOLS,
    "timeline": TOOLS,
}
"""The commands of that package, and what installs each."""
