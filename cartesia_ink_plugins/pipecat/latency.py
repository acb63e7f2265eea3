"""How long the user waits, counted from the end of speech in the audio itself."""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

from pipecat.frames.frames import MetricsFrame
from pipecat.metrics.metrics import ProcessingMetricsData

from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd
from cartesia_ink_plugins.pipecat.llm_observer import FirstTokenObserver
from cartesia_ink_plugins.pipecat.service import InkStreamingSTTService

Stage: TypeAlias = Literal["eager_end", "end", "first_token"]


class TurnLatencyMetricsData(ProcessingMetricsData):
    """Time from the end of the user's speech to a stage of the answer, as Pipecat metrics.

    Only what was heard is reported: where the audio does not tell when speech ended, there is no
    such data.

    Parameters:
        turn: Number of the turn in the session, from 1.
        stage: `eager_end`, `end`, or `first_token`: the first words of the reply that left an LLM
            service. Words of a reply begun early leave it when the turn has ended.
        value: Seconds.
    """

    turn: int
    stage: str


class LatencyMeter:
    """Measures the turns of a service."""

    def __init__(self, service: InkStreamingSTTService, first_token: FirstTokenObserver) -> None:
        """Measure nothing yet.

        Args:
            service: Pushes the metrics.
            first_token: Sees where replies come from.
        """
        self._service = service
        self._first_token = first_token

    def turn_started(self) -> None:
        """Whatever reply was awaited, it does not count any more."""
        self._first_token.forget()

    async def turn_may_have_ended(self, event: TurnEagerEnd) -> None:
        """Measure a prediction."""
        await self._measure(event, "eager_end")

    async def turn_ended(self, event: TurnEnd) -> None:
        """Measure the end of a turn with words, and then the first words of the reply.

        Also report how much audio was used, and begin Pipecat's time to first byte: that of an STT
        service lasts from the end of speech to the final text.
        """
        await self._service.emit_stt_usage_metrics()
        if event.timing and event.timing.speech_end is not None:
            await self._service.start_ttfb_metrics(start_time=event.timing.speech_end)
        if not self._service.metrics_enabled:
            return
        await self._measure(event, "end")

        async def on_token() -> None:
            await self._measure(event, "first_token")

        self._first_token.expect(on_token)

    async def _measure(self, event: TurnEagerEnd | TurnEnd, stage: Stage) -> None:
        timing = event.timing
        if timing is None or timing.speech_end is None or not self._service.metrics_enabled:
            return
        data = TurnLatencyMetricsData(
            processor=self._service.name,
            model=self._service.model,
            turn=timing.turn,
            stage=stage,
            value=max(0.0, time.time() - timing.speech_end),
        )
        await self._service.push_frame(MetricsFrame(data=[data]))
