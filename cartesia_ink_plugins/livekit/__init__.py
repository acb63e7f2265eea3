"""The LiveKit Agents plugin.

    from cartesia_ink_plugins import livekit as ink

    session = AgentSession(stt=ink.STT(), ..., turn_handling={"turn_detection": "stt"})

Import it at the top of a module: LiveKit registers plugins on the main thread only.
"""

from livekit.agents import Plugin

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
from cartesia_ink_plugins.livekit.log import logger
from cartesia_ink_plugins.livekit.stream import InkRecognizeStream
from cartesia_ink_plugins.livekit.stt import STT
from cartesia_ink_plugins.version import __version__

__all__ = [
    "STT",
    "AlwaysSpeculate",
    "InkRecognizeStream",
    "SpeculateWhileKept",
    "SpeculateWithinBudget",
    "SpeculationCounts",
    "SpeculationOutcome",
    "SpeculationPolicy",
    "SpeculationReport",
    "Spending",
    "TokenPrice",
    "TokenUsage",
    "WatchesSpending",
    "__version__",
]


class InkPlugin(Plugin):
    """How LiveKit lists this plugin."""

    def __init__(self) -> None:
        """Name the plugin, its version and its logger."""
        super().__init__(__name__, __version__, __name__, logger)


Plugin.register_plugin(InkPlugin())
