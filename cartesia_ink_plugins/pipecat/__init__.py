"""Cartesia Ink for Pipecat: `InkTurnsSTTService`."""

from cartesia_ink_plugins.pipecat.latency import TurnLatencyMetricsData
from cartesia_ink_plugins.pipecat.settings import InkTurnsSTTSettings
from cartesia_ink_plugins.pipecat.speculation import (
    AlwaysSpeculate,
    SpeculateWhileKept,
    SpeculationCounts,
    SpeculationMetricsData,
    SpeculationOutcome,
    SpeculationPolicy,
    SpeculationReport,
)
from cartesia_ink_plugins.pipecat.stt import InkTurnsSTTService

__all__ = [
    "AlwaysSpeculate",
    "InkTurnsSTTService",
    "InkTurnsSTTSettings",
    "SpeculateWhileKept",
    "SpeculationCounts",
    "SpeculationMetricsData",
    "SpeculationOutcome",
    "SpeculationPolicy",
    "SpeculationReport",
    "TurnLatencyMetricsData",
]
