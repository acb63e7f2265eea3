"""Test your bot against a local Ink server: no key, no network, the same words every time."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cartesia_ink_plugins.server.app import InkServer
    from cartesia_ink_plugins.server.cues import Cue
    from cartesia_ink_plugins.server.engine import Close, Raw
    from cartesia_ink_plugins.server.proxy import FaultProxy
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
    "FaultProxy",
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

# pytest loads `testing.plugin`, and with it this package, wherever we are installed: also without
# the extra [server], and in runs that never use it.
_WHERE = {
    "server.app": ("InkServer",),
    "server.cues": ("Cue",),
    "server.engine": ("Close", "Raw"),
    "server.proxy": ("FaultProxy",),
    "server.record": ("ConnectionRecord",),
    "server.rules": ("Rules",),
    "server.script": ("Script", "Turn"),
    "server.script_ear": ("ScriptTiming",),
    "testing.asserts": ("assert_heard", "assert_turn_order"),
    "testing.local": ("LocalInk",),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    for module, names in _WHERE.items():
        if name in names:
            return getattr(import_module(f"cartesia_ink_plugins.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
