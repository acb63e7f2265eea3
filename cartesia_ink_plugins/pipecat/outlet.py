"""The frames that the turn events of a session become."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from pipecat.frames import frames
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMRunFrame,
    MetricsFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.pipecat.latency import LatencyMeter
from cartesia_ink_plugins.pipecat.sequencer import TurnText
from cartesia_ink_plugins.pipecat.speculation import SpeculationMetricsData, SpeculationReport

Expect = Callable[[Frame], None]
AnyFrame = TypeVar("AnyFrame", bound=Frame)


def _uninterruptible(kind: type[AnyFrame]) -> type[AnyFrame]:
    """The class to make frames of that an interruption must not drop."""
    if "interruptible" in Frame.__dataclass_fields__:
        return kind
    # Before 1.11 it was not a field that decided, but a mixin, deprecated since.
    return type(kind.__name__, (kind, frames.UninterruptibleFrame), {})


_FinalFrame = _uninterruptible(TranscriptionFrame)
_StopFrame = _uninterruptible(ProposedUserStoppedSpeakingFrame)


class Speaker(Protocol):
    """What the outlet needs of the service: a place in a pipeline."""

    @property
    def name(self) -> str:
        """Name of the processor."""

    @property
    def metrics_enabled(self) -> bool:
        """Whether metrics are collected."""

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame to the next processor."""

    async def broadcast_interruption(self) -> None:
        """Interrupt the bot."""


class TurnOutlet:
    """Pushes frames from the service's place in the pipeline."""

    def __init__(
        self,
        service: Speaker,
        *,
        model: str | None,
        language: Language | None,
        meter: LatencyMeter,
        user_id: Callable[[], str],
        before_final: Callable[[TurnEnd], Awaitable[None]],
        after_final: Callable[[str, bool, Language | None], Awaitable[None]],
        call: Callable[..., Awaitable[None]],
    ) -> None:
        """Make an outlet of a service.

        Args:
            service: Where frames are pushed from.
            model: The model named in metrics.
            language: What the model understands, when it is only one.
            meter: Measures what the user waits for.
            user_id: Tells who speaks.
            before_final: Called before the words of a turn are pushed.
            after_final: Called with the words of a turn that were pushed.
            call: Calls the user's handlers of a named event.
        """
        self._service = service
        self._model = model
        self._language = language
        self._meter = meter
        self._user_id = user_id
        self._before_final = before_final
        self._after_final = after_final
        self._call = call

    async def propose_start(self, expect: Expect) -> None:
        """Propose, upstream and downstream, that the user's turn has started."""
        self._meter.turn_started()
        await self._broadcast(
            ProposedUserStartedSpeakingFrame(), ProposedUserStartedSpeakingFrame(), expect
        )

    async def propose_stop(self, expect: Expect) -> None:
        """Propose, upstream and downstream, that the user's turn has ended."""
        down, up = _StopFrame(), _StopFrame()
        down.interruptible = up.interruptible = False
        await self._broadcast(down, up, expect)

    async def interrupt(self) -> None:
        """Stop the bot."""
        await self._service.broadcast_interruption()

    async def push_interim(self, text: str, event: TurnText) -> None:
        """Push words that may still grow."""
        frame = InterimTranscriptionFrame(text, *self._about(event))
        frame.includes_inter_frame_spaces = True
        await self._service.push_frame(frame)

    async def push_eager(self, text: str, event: TurnText, expect: Expect) -> None:
        """Push the words of a turn that has probably ended."""
        frame = EagerTranscriptionFrame(text, *self._about(event))
        frame.includes_inter_frame_spaces = True
        expect(frame)
        if isinstance(event, TurnEagerEnd):
            await self._meter.turn_may_have_ended(event)
        await self._service.push_frame(frame)

    async def push_withdrawal(self) -> None:
        """Withdraw the prediction."""
        await self._service.push_frame(EagerEndOfTurnCancelFrame())

    async def push_final(self, text: str, event: TurnEnd) -> None:
        """Push the words of a turn; an interruption never drops them."""
        await self._before_final(event)
        await self._meter.turn_ended(event)
        frame = _FinalFrame(text, *self._about(event), finalized=True)
        frame.includes_inter_frame_spaces = True
        frame.interruptible = False
        await self._service.push_frame(frame)
        await self._after_final(text, True, self._language)

    async def answer_again(self) -> None:
        """Have the LLM take up the reply that noise has cut off."""
        await self._service.push_frame(LLMRunFrame())

    async def report(self, report: SpeculationReport) -> None:
        """Tell what became of a speculation, as metrics and to the user's handlers."""
        if self._service.metrics_enabled:
            data = SpeculationMetricsData(
                processor=self._service.name,
                model=self._model,
                outcome=report.outcome.value,
                lead=report.lead,
                kept=report.counts.kept,
                withdrawn=report.counts.withdrawn,
                mismatched=report.counts.mismatched,
            )
            await self._service.push_frame(MetricsFrame(data=[data]))
        await self._call("on_speculation", report)

    async def notify(self, event: TurnEvent) -> None:
        """Call the user's handlers, with the words as they came."""
        match event:
            case TurnStart():
                await self._call("on_turn_start", "")
            case TurnUpdate(transcript=transcript):
                await self._call("on_turn_update", transcript)
            case TurnEagerEnd(transcript=transcript):
                await self._call("on_turn_eager_end", transcript)
            case TurnResume():
                await self._call("on_turn_resume")
            case TurnEnd(transcript=transcript):
                await self._call("on_turn_end", transcript)

    def _about(self, event: TurnText) -> tuple[str, str, Language | None, dict[str, Any]]:
        """Who said it, when, in which language, and the message itself."""
        message = {
            "type": event.type,
            "transcript": event.transcript,
            "request_id": event.request_id,
        }
        return self._user_id(), time_now_iso8601(), self._language, message

    async def _broadcast(self, down: Frame, up: Frame, expect: Expect) -> None:
        down.broadcast_sibling_id, up.broadcast_sibling_id = up.id, down.id
        expect(down)
        await self._service.push_frame(down)
        await self._service.push_frame(up, FrameDirection.UPSTREAM)
