"""What the LLM services of a pipeline do, seen by their own event handlers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import LLMService

from cartesia_ink_plugins.pipecat.turn_frames import make_void

OnToken = Callable[[], Awaitable[None]]
TRAVEL_SECONDS = 0.03
"""What a frame is given for its way through processors that do not hold it up."""
# The same, in turns of the event loop, should that be blocked; each processor takes two.
_TRAVEL_TURNS = 20
# How many predictions may be on their way that were given up: one for each pause of a long turn.
_MOST_GIVEN_UP = 16


def all_processors(pipeline: FrameProcessor) -> Iterator[FrameProcessor]:
    """All processors of a pipeline, wherever they are in it."""
    yield pipeline
    for part in pipeline.processors:
        yield from all_processors(part)


def llm_services(pipeline: FrameProcessor) -> list[LLMService]:
    """The LLM services of a pipeline, wherever they are in it."""
    return [part for part in all_processors(pipeline) if isinstance(part, LLMService)]


async def _wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for some seconds, and for some turns of the event loop at least."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    for _ in range(_TRAVEL_TURNS):
        if event.is_set():
            return True
        await asyncio.sleep(0)
    return event.is_set()


class SpeculativeText(str):
    """Text that a speculative inference answers; its identity tells one inference from another."""

    __slots__ = ()


class ReplyObserver:
    """Tells whether the reply to a prediction exists, and whether the LLM service still holds it.

    A prediction may get lost on its way to the LLM service, and the service drops the reply that it
    holds when somebody interrupts it, or gives it something else to answer. A prediction that was
    not waited for any longer may also arrive late: by then it is answered by nobody, because the
    service would say that reply beside the one to the turn.

    Attributes:
        frame_id: Of the context frame of the expected inference; None until that begins.
    """

    def __init__(
        self, *, on_begun: Callable[[], None], on_lost: Callable[[bool], Awaitable[None]]
    ) -> None:
        """See nothing before `attach`.

        Args:
            on_begun: Called when the expected inference begins.
            on_lost: Called when the LLM service no longer holds the whole reply; the argument is
                whether it may still hold a part.
        """
        self._on_begun = on_begun
        self._on_lost = on_lost
        self.frame_id: int | None = None
        self._llms: list[LLMService] = []
        self._is_leaving = False
        self._busy: dict[LLMService, Frame] = {}
        self._text: SpeculativeText | None = None
        self._holder: LLMService | None = None
        self._begun = asyncio.Event()
        self._given_up = deque[SpeculativeText](maxlen=_MOST_GIVEN_UP)
        self._context_arrived = asyncio.Event()

    def attach(self, pipeline: FrameProcessor) -> None:
        """Observe the LLM services of a pipeline."""
        self._given_up.clear()
        self.detach()
        self._llms = llm_services(pipeline)
        for llm in self._llms:
            llm.add_event_handler("on_before_process_frame", self._before_process)
            llm.add_event_handler("on_after_process_frame", self._after_process)
            llm.add_event_handler("on_before_push_frame", self._before_push)

    def detach(self) -> None:
        """Observe nothing more, once the predictions have arrived that must not be answered."""
        self._is_leaving = bool(self._given_up)
        if self._is_leaving:
            return
        for llm in self._llms:
            llm.remove_event_handler("on_before_process_frame", self._before_process)
            llm.remove_event_handler("on_after_process_frame", self._after_process)
            llm.remove_event_handler("on_before_push_frame", self._before_push)
        self._llms = []
        self._busy.clear()

    @property
    def sees_any(self) -> bool:
        """Whether there is an LLM service to observe."""
        return bool(self._llms)

    @property
    def is_busy(self) -> bool:
        """Whether an LLM service generates something that is no answer to a prediction."""
        return bool(self._busy)

    @property
    def has_begun(self) -> bool:
        """Whether the expected inference has begun."""
        return self._begun.is_set()

    def expect(self, text: SpeculativeText) -> None:
        """Watch for the inference that answers this text."""
        self._text, self._holder, self.frame_id = text, None, None
        self._begun.clear()

    def forget(self) -> None:
        """The reply is confirmed or withdrawn; what becomes of it is of no interest."""
        self._holder = None

    async def begun(self, patience: float) -> bool:
        """Wait until the expected inference has begun; afterwards, it must not begin any more.

        Args:
            patience: How many seconds to wait.

        Returns:
            Whether it has begun.
        """
        if not self._llms or await _wait_for(self._begun, patience):
            return True
        self.give_up()
        return False

    def give_up(self) -> None:
        """The expected inference must not begin any more; nothing changes for one that has."""
        if self._text is not None and not self.has_begun:
            self._given_up.append(self._text)
            self._text = None

    def expect_context(self) -> None:
        """Watch for the next context that arrives at an LLM service and is no prediction."""
        self._context_arrived.clear()

    async def context_arrived(self) -> None:
        """Wait until it has arrived, for the time that a frame takes through a pipeline.

        An interruption that is sent sooner overtakes the context, and does not stop its inference.
        """
        await _wait_for(self._context_arrived, TRAVEL_SECONDS)

    async def _before_process(self, processor: FrameProcessor, frame: Frame) -> None:
        if not isinstance(processor, LLMService):
            return
        match frame:
            case LLMContextFrame() if frame.speculation and self._is_given_up(frame):
                make_void(frame)
                if self._is_leaving:
                    self.detach()
            case LLMContextFrame():
                is_ours = frame.speculation and self._is_expected(frame)
                if is_ours:
                    self._holder, self.frame_id = processor, frame.id
                    if not self._begun.is_set():
                        self._begun.set()
                        self._on_begun()
                elif not frame.speculation:
                    self._context_arrived.set()
                    self._busy[processor] = frame
                    await self._lose(processor, may_hold=True)
            case InterruptionFrame():
                self._busy.pop(processor, None)
                await self._lose(processor, may_hold=True)
            case EagerEndOfTurnCancelFrame():
                await self._lose(processor, may_hold=False)

    async def _after_process(self, processor: FrameProcessor, frame: Frame) -> None:
        if isinstance(processor, LLMService) and self._busy.get(processor) is frame:
            del self._busy[processor]

    async def _before_push(self, processor: FrameProcessor, frame: Frame) -> None:
        """An LLM service interrupts, or takes back its reply because it wants to call a tool."""
        if isinstance(frame, InterruptionFrame | EagerEndOfTurnCancelFrame):
            await self._lose(processor, may_hold=False)

    async def _lose(self, processor: FrameProcessor, *, may_hold: bool) -> None:
        if processor is self._holder:
            self._holder = None
            await self._on_lost(may_hold)

    def _is_expected(self, frame: LLMContextFrame) -> bool:
        """Whether an inference answers the expected text, and not that of another aggregator."""
        if self._text is None:
            return False
        texts = _speculative_texts(frame)
        # A processor on the way may have written the message anew.
        return not texts or any(text is self._text for text in texts)

    def _is_given_up(self, frame: LLMContextFrame) -> bool:
        """Whether an inference answers a text that is not waited for any more; true only once."""
        texts = _speculative_texts(frame)
        for index, given_up in enumerate(self._given_up):
            if any(text is given_up for text in texts) or (not texts and self._text is None):
                del self._given_up[index]  # equal texts of other predictions stay
                return True
        return False


def _speculative_texts(frame: LLMContextFrame) -> list[SpeculativeText]:
    contents = [m.get("content") for m in frame.context.get_messages() if isinstance(m, dict)]
    return [content for content in contents if isinstance(content, SpeculativeText)]


class FirstTokenObserver:
    """Watches for the first text of a reply that leaves an LLM service."""

    def __init__(self) -> None:
        """See nothing before `attach`."""
        self._llms: list[LLMService] = []
        self._on_token: OnToken | None = None

    def attach(self, pipeline: FrameProcessor) -> None:
        """Observe the LLM services of a pipeline."""
        self._llms = llm_services(pipeline)

    def expect(self, on_token: OnToken) -> None:
        """Watch for the first text of the next reply.

        Args:
            on_token: Called with it, before it goes on.
        """
        self.forget()
        self._on_token = on_token
        for llm in self._llms:
            llm.add_event_handler("on_before_push_frame", self._before_push)

    def forget(self) -> None:
        """Watch for no reply any more."""
        if self._on_token:
            self._on_token = None
            for llm in self._llms:
                llm.remove_event_handler("on_before_push_frame", self._before_push)

    async def _before_push(self, _: FrameProcessor, frame: Frame) -> None:
        if self._on_token and isinstance(frame, LLMTextFrame):
            on_token = self._on_token
            # The framework is going through its list of handlers right now.
            asyncio.get_running_loop().call_soon(self.forget)
            self._on_token = _nothing
            await on_token()


async def _nothing() -> None:
    """What happens with the tokens after the first."""
