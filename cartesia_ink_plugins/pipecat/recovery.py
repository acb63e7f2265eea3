"""What follows a turn without words that has cut the bot off.

The application decides it: `LLMUserAggregatorParams.empty_user_turn`. Where the application has
left that at its default, the bot takes up what it was saying, and the user is not asked to repeat
what was only noise. The framework's guards hold in either case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    LLMMessagesTransformFrame,
    LLMMessagesUpdateFrame,
    LLMRunFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregator
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.turns.user_stop import BaseUserTurnStopStrategy

from cartesia_ink_plugins.pipecat.llm_observer import all_processors

# As of Pipecat's own default; and what holds before 1.14, which has no such configuration.
_MAX_CONSECUTIVE = 1


def find_aggregator(
    pipeline: FrameProcessor, strategy: BaseUserTurnStopStrategy
) -> LLMUserAggregator | None:
    """The user aggregator that has adopted a strategy; None when it is another processor."""
    for processor in all_processors(pipeline):
        if isinstance(processor, LLMUserAggregator):
            controller = getattr(processor, "_user_turn_controller", None)
            if controller and strategy in (controller.user_turn_strategies.stop or []):
                return processor
    return None


class EmptyTurnRecovery:
    """Ends the turns without words of one user aggregator."""

    def __init__(self) -> None:
        """The bot has not spoken yet."""
        self.aggregator: LLMUserAggregator | None = None
        self._is_replying = self._was_cut_off = False
        self._function_calls = 0
        self._consecutive = 0

    def observe(self, frame: Frame) -> None:
        """Learn what the bot does."""
        match frame:
            case BotStartedSpeakingFrame():
                self._is_replying = True
            case BotStoppedSpeakingFrame() | InterruptionFrame():
                self._is_replying = False
            case FunctionCallsStartedFrame():
                self._function_calls += len(frame.function_calls)
            case FunctionCallResultFrame() | FunctionCallCancelFrame():
                self._function_calls = max(0, self._function_calls - 1)
                self._is_replying |= isinstance(frame, FunctionCallResultFrame)
            case LLMRunFrame():
                self._is_replying = True
            case LLMMessagesAppendFrame() | LLMMessagesUpdateFrame() | LLMMessagesTransformFrame():
                self._is_replying |= bool(frame.run_llm)

    def turn_started(self, *, interrupts: bool) -> None:
        """A turn begins, and interrupts the bot or does not."""
        self._was_cut_off = interrupts and self._is_replying
        if interrupts:
            self._is_replying = False

    def turn_answered(self) -> None:
        """A turn with words has ended, and the bot replies."""
        self._is_replying = True
        self._consecutive = 0

    async def end_turn(self, end: Callable[[], Awaitable[None]]) -> bool:
        """End a turn without words.

        Args:
            end: Has the aggregator end the turn.

        Returns:
            Whether the bot takes up what it was saying.
        """
        aggregator = self.aggregator
        if aggregator is None or not self._takes_up(aggregator):
            await end()
            return False
        config = getattr(aggregator._params, "empty_user_turn", None)
        limit = config.max_consecutive_recoveries if config else _MAX_CONSECUTIVE
        with _without_prompts(aggregator):
            await end()
        if not self._was_cut_off or self._function_calls or self._consecutive >= limit:
            return False
        self._consecutive += 1
        self._is_replying = True
        await aggregator.push_context_frame()
        return True

    def _takes_up(self, aggregator: LLMUserAggregator) -> bool:
        """Whether it is left to us, and there is something in the context to take up."""
        if self._was_cut_off and not aggregator.messages:
            return False
        return not hasattr(aggregator._params, "empty_user_turn") or _is_default(
            aggregator._params.empty_user_turn
        )


def _is_default(config: Any) -> bool:
    """Whether the prompts are the framework's own."""
    if config is None:
        return False
    default = type(config)()
    return bool(
        config.interrupted_prompt == default.interrupted_prompt
        and config.idle_prompt == default.idle_prompt
    )


@contextmanager
def _without_prompts(aggregator: LLMUserAggregator) -> Iterator[None]:
    """Keep the aggregator from asking the user to repeat; what the application passed is kept."""
    params = aggregator._params
    aggregator._params = copy(params)
    if hasattr(params, "empty_user_turn"):
        aggregator._params.empty_user_turn = None
    try:
        yield
    finally:
        aggregator._params = params
