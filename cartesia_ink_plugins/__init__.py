"""Cartesia Ink speech-to-text for Pipecat, LiveKit Agents and plain asyncio."""

from cartesia_ink_plugins.core.audio import Encoding
from cartesia_ink_plugins.core.batch import Transcription, transcribe
from cartesia_ink_plugins.core.client import InkTurnsClient
from cartesia_ink_plugins.core.errors import (
    ClosedError,
    InkError,
    RefusedError,
    TranscriptionError,
    UsageError,
)
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    DialFailed,
    Disconnected,
    ErrorMessage,
    Event,
    Final,
    Interim,
    ManualEvent,
    SettingsRejected,
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.manual_client import InkManualClient
from cartesia_ink_plugins.core.manual_options import ManualOptions
from cartesia_ink_plugins.core.options import Credentials, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.transcripts import Word

__all__ = [
    "AudioGap",
    "ClosedError",
    "Connected",
    "Credentials",
    "DialFailed",
    "Disconnected",
    "Encoding",
    "ErrorMessage",
    "Event",
    "Final",
    "InkError",
    "InkManualClient",
    "InkTurnsClient",
    "Interim",
    "ManualEvent",
    "ManualOptions",
    "RefusedError",
    "Resilience",
    "SettingsRejected",
    "Timing",
    "Transcription",
    "TranscriptionError",
    "TurnEagerEnd",
    "TurnEnd",
    "TurnResume",
    "TurnSettings",
    "TurnStart",
    "TurnUpdate",
    "TurnsOptions",
    "UsageError",
    "Word",
    "transcribe",
]
