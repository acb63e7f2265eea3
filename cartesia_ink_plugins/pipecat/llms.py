"""What the LLM services of the pipeline do with a prediction, and when they first say something.

A withdrawal that reaches an LLM service before the prediction withdraws nothing, and other
processors, such as a memory that is asked over the network, may hold the prediction up on its way.
So it is the LLM service itself that is watched, by its own event handlers, while there is something
to see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from pipecat.frames.frames import Frame, LLMContextFrame, LLMTextFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import LLMService

OnToken = Callable[[], Awaitable[None]]


class LLMWatch:
    """Watches the LLM services of a pipeline."""

    def __init__(self) -> None:
        """See nothing before `look_around`."""
        self._llms: list[LLMService] = []
        self._begun = asyncio.Event()
        self._watching = False
        self._on_token: OnToken | None = None

    def look_around(self, pipeline: FrameProcessor) -> None:
        """Find the LLM services of a pipeline, wherever they are in it."""
        self._llms = [p for p in _all(pipeline) if isinstance(p, LLMService)]

    @property
    def sees_any(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._llms)

    def expect_prediction(self) -> None:
        """Watch for the next speculative inference."""
        self._begun.clear()
        if not self._watching:
            self._watching = True
            for llm in self._llms:
                llm.add_event_handler("on_before_process_frame", self._before_process)

    async def prediction_begun(self, patience: float) -> None:
        """Wait until the speculative inference has begun.

        Args:
            patience: Seconds.

        Raises:
            TimeoutError: It has not.
        """
        try:
            await asyncio.wait_for(self._begun.wait(), patience)
        finally:
            self._watching = False
            for llm in self._llms:
                llm.remove_event_handler("on_before_process_frame", self._before_process)

    def expect_token(self, on_token: OnToken) -> None:
        """Watch for the first words of the next reply that leave an LLM service.

        Args:
            on_token: Called with them, before they go on.
        """
        self.forget_token()
        self._on_token = on_token
        for llm in self._llms:
            llm.add_event_handler("on_before_push_frame", self._before_push)

    def forget_token(self) -> None:
        """Watch for no reply any more."""
        if self._on_token:
            self._on_token = None
            for llm in self._llms:
                llm.remove_event_handler("on_before_push_frame", self._before_push)

    async def _before_process(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMContextFrame) and frame.speculation:
            self._begun.set()

    async def _before_push(self, _: FrameProcessor, frame: Frame) -> None:
        if self._on_token and isinstance(frame, LLMTextFrame):
            on_token = self._on_token
            # The framework is going through its list of handlers right now.
            asyncio.get_running_loop().call_soon(self.forget_token)
            self._on_token = _nothing
            await on_token()


async def _nothing() -> None:
    """What happens with the words after the first."""


def _all(processor: FrameProcessor) -> Iterator[FrameProcessor]:
    yield processor
    for part in processor.processors:
        yield from _all(part)
