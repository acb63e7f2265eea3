"""Test your bot against a local Ink server: no key, no network, the same words every time."""

from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import Close, Raw
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_ear import ScriptTiming
from cartesia_ink_plugins.testing.asserts import assert_heard, assert_turn_order
from cartesia_ink_plugins.testing.local import LocalInk

__all__ = [
    "Close",
    "ConnectionRecord",
    "Cue",
    "InkServer",
    "LocalInk",
    "Raw",
    "Rules",
    "Script",
    "ScriptTiming",
    "Turn",
    "assert_heard",
    "assert_turn_order",
]
