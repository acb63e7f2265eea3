"""What became of the replies to predicted ends of turns, and what they cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pipecat.frames.frames import MetricsFrame
from pipecat.metrics.metrics import ProcessingMetricsData
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.turns.user_stop import EagerMatchPolicy

from cartesia_ink_plugins.core.speculation import (
    SpeculationPolicy,
    SpeculationReport,
    Speculations,
    TokenPrice,
    TokenUsage,
)
from cartesia_ink_plugins.core.tap import MomentKind, SpeculationOutcome
from cartesia_ink_plugins.pipecat.inferences import InferenceObserver
from cartesia_ink_plugins.pipecat.service import InkStreamingSTTService


class SpeculationMetricsData(ProcessingMetricsData):
    """The outcome of one speculation, as Pipecat metrics.

    Parameters:
        outcome: `kept`, `withdrawn` or `mismatched`.
        lead: Seconds from the prediction to its outcome; `value` is the same.
        kept: Speculations of this session whose reply was used.
        withdrawn: Speculations of this session after which the user went on.
        mismatched: Speculations of this session that answered other words than the final ones.
        prompt_tokens: As of `SpeculationReport`, like the next three.
        completion_tokens: See there.
        estimated_prompt_tokens: See there.
        cost: See there.
        wasted_share: Which share of all that the LLM services cost in this session was wasted, 0
            to 1.
    """

    outcome: str
    lead: float
    kept: int
    withdrawn: int
    mismatched: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated_prompt_tokens: int | None = None
    cost: float | None = None
    wasted_share: float = 0.0


class SpeculationTracker:
    """Counts the speculations of a service, over all user aggregators that use its strategies."""

    def __init__(
        self,
        service: InkStreamingSTTService,
        policy: SpeculationPolicy | None,
        match_policy: EagerMatchPolicy,
        price: TokenPrice | None,
        call: Callable[..., Awaitable[None]],
    ) -> None:
        """Count from zero.

        Args:
            service: Pushes the metrics.
            policy: Decides which predictions are answered; without one, all are.
            match_policy: Whether a reply to some words also answers some other words.
            price: Of a token.
            call: Calls the user's handlers of a named event.
        """
        self.match_policy = match_policy
        self._speculations = Speculations(policy, price, time.monotonic)
        self.should_speculate = self._speculations.should_speculate
        self._service = service
        self._call = call
        self._inferences = InferenceObserver(self._speculations.spending.spent)

    def attach(self, pipeline: FrameProcessor) -> None:
        """Observe the LLM services of a pipeline."""
        self._inferences.attach(pipeline)

    async def detach(self) -> None:
        """Observe nothing more, and report what is still to be reported."""
        await self._inferences.detach()

    def began(self) -> None:
        """An LLM service has begun a reply to a prediction."""
        self._service.report(MomentKind.SPECULATION_BEGAN)

    async def resolved(
        self, outcome: SpeculationOutcome, began_at: float, frame_id: int | None
    ) -> None:
        """A reply that an LLM service had begun was kept, withdrawn or did not match.

        A discarded one is reported when the LLM service has stopped: then it has told its tokens,
        if it does.

        Args:
            outcome: What became of it.
            began_at: When the prediction came, on the clock of the event loop.
            frame_id: Of the context frame that the LLM service has answered, if that is known.
        """
        lead = asyncio.get_running_loop().time() - began_at
        inference = self._inferences.of(frame_id)

        async def tell() -> None:
            usage = inference.usage if inference is not None and inference.is_over else None
            await self._report(outcome, lead, usage)

        if inference is not None and outcome is SpeculationOutcome.KEPT:
            inference.is_confirmed = True
        if inference is None or outcome is SpeculationOutcome.KEPT:
            await tell()
        else:
            await inference.when_over(tell)

    async def _report(
        self, outcome: SpeculationOutcome, lead: float, usage: TokenUsage | None
    ) -> None:
        """Tell the policy, the taps, the application's handlers and Pipecat's observers."""
        report = self._speculations.resolved(outcome, lead, usage)
        self._service.report(MomentKind.SPECULATION_ENDED, report)
        if self._service.metrics_enabled:
            await self._push_metrics(report)
        await self._call("on_speculation", report)

    async def _push_metrics(self, report: SpeculationReport) -> None:
        data = SpeculationMetricsData(
            processor=self._service.name,
            model=self._service.model,
            value=report.lead,
            outcome=report.outcome.value,
            lead=report.lead,
            kept=report.counts.kept,
            withdrawn=report.counts.withdrawn,
            mismatched=report.counts.mismatched,
            prompt_tokens=report.prompt_tokens,
            completion_tokens=report.completion_tokens,
            estimated_prompt_tokens=report.estimated_prompt_tokens,
            cost=report.cost,
            wasted_share=self._speculations.spending.wasted_share,
        )
        await self._service.push_frame(MetricsFrame(data=[data]))
