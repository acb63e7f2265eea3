"""The inferences of the LLM services of a pipeline, and the tokens that each of them used.

The tokens are those of the LLM services' own usage metrics. A service that is stopped before the
end of its reply often reports none; then they are unknown, and only what it had to read can be
estimated from the length of the text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    MetricsFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import LLMService

from cartesia_ink_plugins.core.speculation import PromptEstimate, TokenUsage
from cartesia_ink_plugins.pipecat.llm_observer import llm_services
from cartesia_ink_plugins.pipecat.turn_frames import VoidFrame

# How many inferences are kept for those who ask what became of one: more than a pipeline has LLMs.
_REMEMBERED = 16


@dataclass(slots=True, eq=False)
class Inference:
    """One run of an LLM service.

    Attributes:
        frame_id: Of the context frame that the service was given.
        is_speculative: Whether it answers a turn that may not have ended.
        characters: How long the text is that the service has to read.
        usage: Its tokens, as far as the service has reported them.
        is_confirmed: Whether a speculative one answers a turn that has ended; it is then stopped
            by an interruption only.
        is_over: Whether the service has ended, or was stopped.
    """

    frame_id: int
    is_speculative: bool
    characters: int
    usage: TokenUsage
    is_confirmed: bool = False
    is_over: bool = False
    _when_over: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def when_over(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call something when it is over; now, if it is."""
        if self.is_over:
            await call()
        else:
            self._when_over.append(call)

    async def end(self) -> None:
        """It is over."""
        self.is_over = True
        calls, self._when_over = self._when_over, []
        for call in calls:
            await call()


class InferenceObserver:
    """Watches the inferences of a pipeline; a service has one at a time."""

    def __init__(self, on_over: Callable[[TokenUsage], None]) -> None:
        """See nothing before `attach`.

        Args:
            on_over: Called with the tokens of each inference that is over.
        """
        self._on_over = on_over
        self._llms: list[LLMService] = []
        self._current: dict[FrameProcessor, Inference] = {}
        self._latest: deque[Inference] = deque(maxlen=_REMEMBERED)
        self._estimates: dict[FrameProcessor, PromptEstimate] = {}

    def attach(self, pipeline: FrameProcessor) -> None:
        """Observe the LLM services of a pipeline."""
        self._llms = llm_services(pipeline)
        for llm in self._llms:
            llm.add_event_handler("on_before_process_frame", self._before_process)
            llm.add_event_handler("on_after_process_frame", self._after_process)
            llm.add_event_handler("on_before_push_frame", self._before_push)

    async def detach(self) -> None:
        """Observe nothing more; what runs is over as far as anyone will know."""
        for llm in self._llms:
            llm.remove_event_handler("on_before_process_frame", self._before_process)
            llm.remove_event_handler("on_after_process_frame", self._after_process)
            llm.remove_event_handler("on_before_push_frame", self._before_push)
            await self._end(llm)
        self._llms = []

    def of(self, frame_id: int | None) -> Inference | None:
        """The inference of a context frame, if it is one of the latest."""
        return next((i for i in self._latest if i.frame_id == frame_id), None)

    async def _before_process(self, llm: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMContextFrame):
            await self._end(llm)
            characters = _characters(frame.context)
            usage = self._estimates.setdefault(llm, PromptEstimate()).usage(characters)
            self._current[llm] = Inference(frame.id, frame.speculation, characters, usage)
            self._latest.append(self._current[llm])

    async def _after_process(self, llm: FrameProcessor, frame: Frame) -> None:
        inference = self._current.get(llm)
        match frame:
            case VoidFrame() if inference is not None and inference.frame_id == frame.id:
                del self._current[llm]
                self._latest.remove(inference)
            case LLMContextFrame() if inference is not None and inference.frame_id == frame.id:
                await self._end(llm)
            case InterruptionFrame():
                await self._end(llm)
            case EagerEndOfTurnCancelFrame() if inference is not None:
                if inference.is_speculative and not inference.is_confirmed:
                    await self._end(llm)

    async def _before_push(self, llm: FrameProcessor, frame: Frame) -> None:
        inference = self._current.get(llm)
        if inference is None or not isinstance(frame, MetricsFrame):
            return
        for data in frame.data:
            if isinstance(data, LLMUsageMetricsData) and data.processor == llm.name:
                # A service that is stopped before it knows its usage may report zeros.
                read = (inference.usage.prompt or 0) + data.value.prompt_tokens
                written = (inference.usage.completion or 0) + data.value.completion_tokens
                estimate = self._estimates[llm]
                inference.usage = estimate.usage(inference.characters, read, written)

    async def _end(self, llm: FrameProcessor) -> None:
        inference = self._current.get(llm)
        if inference is not None and not inference.is_over:
            self._on_over(inference.usage)
            await inference.end()


def _characters(context: LLMContext) -> int:
    """How long the text of a context is; images and sound have none."""
    total = 0
    for message in context.get_messages():
        if isinstance(message, dict):
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            total += sum(len(str(part.get("text") or "")) for part in parts)
            total += len(str(message.get("tool_calls") or ""))
    return total
