"""Test your bot against a local Ink server: no key, no network, the same words every time."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cartesia_ink_plugins.core.events import (
        Done,
        FlushDone,
        Malformed,
        Message,
        Transcript,
        Unknown,
    )
    from cartesia_ink_plugins.observe.reader import (
        RecordedAudio,
        RecordedCall,
        RecordedMoment,
        RecordingMeta,
    )
    from cartesia_ink_plugins.server.app import InkServer, Watch
    from cartesia_ink_plugins.server.cues import Cue, Line
    from cartesia_ink_plugins.server.engine import (
        Close,
        Emit,
        Engine,
        Outgoing,
        Raw,
        RecognitionStream,
        TurnThresholdChanges,
        TurnThresholds,
    )
    from cartesia_ink_plugins.server.faults import (
        Action,
        At,
        CloseAll,
        Deaf,
        Fault,
        Fin,
        HalfOpen,
        IgnoreClose,
        Join,
        Latency,
        NoPongs,
        Outage,
        Refuse,
        Reset,
        Say,
        Silence,
        Slice,
        Throttle,
    )
    from cartesia_ink_plugins.server.frames import WireItem
    from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest
    from cartesia_ink_plugins.server.proxy import FaultProxy, InjectedFault
    from cartesia_ink_plugins.server.record import ConnectionRecord
    from cartesia_ink_plugins.server.rules import Range, Rules, ThresholdRanges
    from cartesia_ink_plugins.server.script import Script, ScriptEngine, Turn
    from cartesia_ink_plugins.server.script_manual import ScriptManualStream
    from cartesia_ink_plugins.server.script_turns import ScriptTiming, ScriptTurnsStream
    from cartesia_ink_plugins.testing.asserts import assert_heard, assert_turn_order
    from cartesia_ink_plugins.testing.call_asserts import (
        assert_answered,
        assert_interrupted_within,
        assert_latency,
        assert_no_reply_before_turn_end,
    )
    from cartesia_ink_plugins.testing.caller import Caller
    from cartesia_ink_plugins.testing.local import LocalInk
    from cartesia_ink_plugins.testing.recording import Recording

__all__ = [
    "Action",
    "At",
    "Caller",
    "Close",
    "CloseAll",
    "ConnectionRecord",
    "Cue",
    "Deaf",
    "Done",
    "Emit",
    "Engine",
    "Fault",
    "FaultProxy",
    "Fin",
    "FlushDone",
    "HalfOpen",
    "IgnoreClose",
    "InjectedFault",
    "InkServer",
    "Join",
    "Latency",
    "Line",
    "LocalInk",
    "Malformed",
    "ManualEmit",
    "ManualRequest",
    "Message",
    "NoPongs",
    "Outage",
    "Outgoing",
    "Range",
    "Raw",
    "RecognitionStream",
    "RecordedAudio",
    "RecordedCall",
    "RecordedMoment",
    "Recording",
    "RecordingMeta",
    "Refuse",
    "Reset",
    "Rules",
    "Say",
    "Script",
    "ScriptEngine",
    "ScriptManualStream",
    "ScriptTiming",
    "ScriptTurnsStream",
    "Silence",
    "Slice",
    "ThresholdRanges",
    "Throttle",
    "Transcript",
    "Turn",
    "TurnThresholdChanges",
    "TurnThresholds",
    "Unknown",
    "Watch",
    "WireItem",
    "assert_answered",
    "assert_heard",
    "assert_interrupted_within",
    "assert_latency",
    "assert_no_reply_before_turn_end",
    "assert_turn_order",
]

# pytest loads `testing.plugin`, and with it this package, wherever we are installed: also without
# the extra [server], and in runs that never use it.
_WHERE = {
    "core.events": (
        "Done",
        "FlushDone",
        "Malformed",
        "Message",
        "Transcript",
        "Unknown",
    ),
    "server.app": (
        "InkServer",
        "Watch",
    ),
    "server.cues": (
        "Cue",
        "Line",
    ),
    "server.engine": (
        "Close",
        "RecognitionStream",
        "Emit",
        "Engine",
        "Outgoing",
        "Raw",
        "TurnThresholdChanges",
        "TurnThresholds",
    ),
    "server.faults": (
        "Action",
        "At",
        "CloseAll",
        "Deaf",
        "Fault",
        "Fin",
        "HalfOpen",
        "IgnoreClose",
        "Join",
        "Latency",
        "NoPongs",
        "Outage",
        "Refuse",
        "Reset",
        "Say",
        "Silence",
        "Slice",
        "Throttle",
    ),
    "server.frames": ("WireItem",),
    "server.manual_engine": (
        "ManualEmit",
        "ManualRequest",
    ),
    "server.proxy": (
        "FaultProxy",
        "InjectedFault",
    ),
    "server.record": ("ConnectionRecord",),
    "server.rules": (
        "Rules",
        "Range",
        "ThresholdRanges",
    ),
    "server.script": (
        "Script",
        "ScriptEngine",
        "Turn",
    ),
    "server.script_turns": (
        "ScriptTurnsStream",
        "ScriptTiming",
    ),
    "server.script_manual": ("ScriptManualStream",),
    "testing.asserts": (
        "assert_heard",
        "assert_turn_order",
    ),
    "testing.call_asserts": (
        "assert_answered",
        "assert_interrupted_within",
        "assert_latency",
        "assert_no_reply_before_turn_end",
    ),
    "testing.caller": ("Caller",),
    "observe.reader": (
        "RecordedAudio",
        "RecordedCall",
        "RecordedMoment",
        "RecordingMeta",
    ),
    "testing.recording": ("Recording",),
    "testing.local": ("LocalInk",),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    for module, names in _WHERE.items():
        if name in names:
            try:
                return getattr(import_module(f"cartesia_ink_plugins.{module}"), name)
            except ModuleNotFoundError as error:
                if error.name and error.name.startswith("cartesia_ink_plugins"):
                    install = "pip install cartesia-ink-tools"
                    raise ImportError(f"{name} is in a package of its own: {install}") from None
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
