"""Metrics of an STT beside those of usage, which its base class makes."""

from __future__ import annotations

import time
from typing import Any

from livekit.agents import stt
from livekit.agents.metrics import STTMetrics
from livekit.agents.metrics.base import Metadata


def report_connection(
    recogniser: stt.STT[Any], request_id: str | None, waited: float, *, is_reused: bool
) -> None:
    """Report that a stream has a connection.

    The base class has a method for that, which leaves out the id of the request.

    Args:
        recogniser: Emits the metrics.
        request_id: Of the connection.
        waited: Seconds for which audio had to wait for it.
        is_reused: Whether it was open before the stream had audio.
    """
    metrics = STTMetrics(
        request_id=request_id or "",
        timestamp=time.time(),
        duration=0.0,
        label=recogniser.label,
        audio_duration=0.0,
        streamed=True,
        acquire_time=waited,
        connection_reused=is_reused,
        metadata=Metadata(model_name=recogniser.model, model_provider=recogniser.provider),
    )
    recogniser.emit("metrics_collected", metrics)
