"""Cartesia Ink for Pipecat: with turns, with finalize, and for whole utterances."""

from cartesia_ink_plugins.core.speculation import (
    AlwaysSpeculate,
    SpeculateWhileKept,
    SpeculateWithinBudget,
    SpeculationCounts,
    SpeculationPolicy,
    SpeculationReport,
    Spending,
    TokenPrice,
    TokenUsage,
    WatchesSpending,
)
from cartesia_ink_plugins.core.tap import SpeculationOutcome
from cartesia_ink_plugins.pipecat.batch import InkBatchSTTService
from cartesia_ink_plugins.pipecat.latency import TurnLatencyMetricsData
from cartesia_ink_plugins.pipecat.manual import InkManualSTTService, InkManualSTTSettings
from cartesia_ink_plugins.pipecat.settings import InkTurnsSTTSettings
from cartesia_ink_plugins.pipecat.speculation import SpeculationMetricsData
from cartesia_ink_plugins.pipecat.speech_frames import SpeechFramesMode
from cartesia_ink_plugins.pipecat.strategies import InterruptOn
from cartesia_ink_plugins.pipecat.stt import InkTurnsSTTService

__all__ = [
    "AlwaysSpeculate",
    "InkBatchSTTService",
    "InkManualSTTService",
    "InkManualSTTSettings",
    "InkTurnsSTTService",
    "InkTurnsSTTSettings",
    "InterruptOn",
    "SpeculateWhileKept",
    "SpeculateWithinBudget",
    "SpeculationCounts",
    "SpeculationMetricsData",
    "SpeculationOutcome",
    "SpeculationPolicy",
    "SpeculationReport",
    "SpeechFramesMode",
    "Spending",
    "TokenPrice",
    "TokenUsage",
    "TurnLatencyMetricsData",
    "WatchesSpending",
]
