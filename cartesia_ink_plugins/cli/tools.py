"""The commands of the package `cartesia-ink-tools`, and how to install them.

It has what is used to develop a bot and not needed in production.
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
"""Each command and how to install it."""
