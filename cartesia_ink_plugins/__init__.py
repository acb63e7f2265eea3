"""Cartesia Ink speech-to-text for Pipecat, LiveKit Agents and plain asyncio."""

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, FrameConverter
from cartesia_ink_plugins.core.credentials import Credentials, TokenProvider
from cartesia_ink_plugins.core.errors import (
    ClosedError,
    InkError,
    RejectedError,
    TranscriptionError,
    UsageError,
)
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    ConnectFailed,
    Disconnected,
    ErrorMessage,
    Event,
    EventsDropped,
    Final,
    Interim,
    ManualEvent,
    SettingsRejected,
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unreachable,
    Word,
)
from cartesia_ink_plugins.core.net.batch import AudioSource, Progress, Transcription, transcribe
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.core.options import (
    ConnectionOptions,
    ManualOptions,
    Resilience,
    TurnSettings,
    TurnsOptions,
)
from cartesia_ink_plugins.core.redaction import Redactor
from cartesia_ink_plugins.core.stats import Snapshot, Unrecognized, UsageMeter
from cartesia_ink_plugins.core.stream.reconnect import ReconnectPolicy
from cartesia_ink_plugins.core.tap import (
    BotAudio,
    InputAudio,
    Moment,
    MomentKind,
    SentAudio,
    SessionStart,
    Span,
    Speculation,
    SpeculationOutcome,
    Tap,
    Tracing,
)
from cartesia_ink_plugins.observe.call import Call
from cartesia_ink_plugins.observe.options import Record, RecordOptions
from cartesia_ink_plugins.observe.percentiles import Percentiles
from cartesia_ink_plugins.observe.stats import SpeculationStats, Stats
from cartesia_ink_plugins.version import __version__

__all__ = [
    "AudioFormat",
    "AudioGap",
    "AudioSource",
    "BotAudio",
    "Call",
    "ClosedError",
    "ConnectFailed",
    "Connected",
    "ConnectionOptions",
    "Credentials",
    "Disconnected",
    "Encoding",
    "ErrorMessage",
    "Event",
    "EventsDropped",
    "Final",
    "FrameConverter",
    "InkError",
    "InkManualClient",
    "InkTurnsClient",
    "InputAudio",
    "Interim",
    "ManualEvent",
    "ManualOptions",
    "Moment",
    "MomentKind",
    "Percentiles",
    "Progress",
    "ReconnectPolicy",
    "Record",
    "RecordOptions",
    "Redactor",
    "RejectedError",
    "Resilience",
    "SentAudio",
    "SessionStart",
    "SettingsRejected",
    "Snapshot",
    "Span",
    "Speculation",
    "SpeculationOutcome",
    "SpeculationStats",
    "Stats",
    "Tap",
    "Timing",
    "TokenProvider",
    "Tracing",
    "Transcription",
    "TranscriptionError",
    "TurnEagerEnd",
    "TurnEnd",
    "TurnEvent",
    "TurnResume",
    "TurnSettings",
    "TurnStart",
    "TurnUpdate",
    "TurnsOptions",
    "Unreachable",
    "Unrecognized",
    "UsageError",
    "UsageMeter",
    "Word",
    "__version__",
    "transcribe",
]
