"""Cartesia Ink speech-to-text for Pipecat, LiveKit Agents and plain asyncio."""

from cartesia_ink_plugins.core.client import InkTurnsClient
from cartesia_ink_plugins.core.errors import ClosedError, InkError, RefusedError, UsageError
from cartesia_ink_plugins.core.options import Credentials, Resilience, TurnSettings, TurnsOptions

__all__ = [
    "ClosedError",
    "Credentials",
    "InkError",
    "InkTurnsClient",
    "RefusedError",
    "Resilience",
    "TurnSettings",
    "TurnsOptions",
    "UsageError",
]
