"""The user turn strategies that `InkTurnsSTTService` recommends.

They live in the user aggregator and decide there. The frames of the service carry the number of
their turn, so they are put in order whatever order they arrive in: a turn is opened when the one
before has ended, and it ends when its end is proposed and its text, if it has any, is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    Frame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_start import ExternalUserTurnStartStrategy
from pipecat.turns.user_stop import BaseUserTurnStopStrategy, UserTurnStoppedParams
from pipecat.turns.user_turn_strategies import (
    EagerUserTurnStrategies,
    ExternalUserTurnStrategies,
    UserTurnStrategies,
)
from pipecat.utils.asyncio.task_manager import BaseTaskManager

from cartesia_ink_plugins.pipecat.recovery import EmptyTurnRecovery, find_aggregator
from cartesia_ink_plugins.pipecat.speculation import SpeculationTracker
from cartesia_ink_plugins.pipecat.speculative_reply import SpeculativeReply
from cartesia_ink_plugins.pipecat.turn_frames import (
    RepeatedStopFrame,
    TurnStamp,
    uninterruptible,
)
from cartesia_ink_plugins.pipecat.turn_order import OpenTurn, TurnOrder

InterruptOn: TypeAlias = Literal["start", "words"]
# Seconds that the user aggregator is given to handle a frame that is put before its queue.
_REPEAT_SECONDS = 1.0
# Seconds until the text of a turn that another processor has made anew, maybe in pieces, counts as
# complete: what it pushes in a row takes milliseconds, and the answer waits for as long as this.
_PIECES_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """What the strategies of a service have in common.

    Attributes:
        service: Name of the service.
        eager: Whether predicted ends of turns are answered.
        enable_interruptions: Whether the user interrupts the bot.
        interrupt_on: Whether the start of a turn opens it and interrupts the bot, or its first
            words.
        speculation_timeout: Seconds that a prediction may stay open.
        speculations: Decides which predictions are answered, and is told what became of them.
        adopted: Called with 1 when an aggregator adopts the strategies, and with -1 when it lets go
            of them.
    """

    service: str
    eager: bool
    enable_interruptions: bool
    interrupt_on: InterruptOn
    speculation_timeout: float
    speculations: SpeculationTracker
    adopted: Callable[[int], None]


class InkUserTurnStartStrategy(ExternalUserTurnStartStrategy):  # type: ignore[no-untyped-call]
    """Opens the user's turns, one after the other."""

    def __init__(
        self, options: StrategyOptions, order: TurnOrder, recovery: EmptyTurnRecovery
    ) -> None:
        """Share the order with the stop strategy of the same aggregator."""
        super().__init__(enable_interruptions=options.enable_interruptions)
        self._options = options
        self._order = order
        self._recovery = recovery

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Open a turn, or hold its start until the one before has ended.

        Args:
            frame: What has reached the aggregator.

        Returns:
            STOP if the frame was about the start of a turn, CONTINUE otherwise.
        """
        match frame:
            case ProposedUserStartedSpeakingFrame():
                await self._start_proposed(self._order.stamp_of(frame))
                return ProcessFrameResult.STOP
            case UserStartedSpeakingFrame():
                if self._order.open is None:
                    self._order.begin(None)
                    self._recovery.turn_started(interrupts=False)
                return await super().process_frame(frame)
            case InterimTranscriptionFrame() | EagerTranscriptionFrame() | TranscriptionFrame() if (
                frame.text.strip()
            ):
                await self._text_arrived(frame)
        return ProcessFrameResult.CONTINUE

    async def _start_proposed(self, stamp: TurnStamp | None) -> None:
        if stamp is not None:
            self._order.started(stamp)
        if stamp is not None and self._order.is_later(stamp):
            self._order.hold(stamp)
        elif self._order.open is None and self._may_open(stamp):
            await self._open(stamp.turn if stamp is not None else None)

    def _may_open(self, stamp: TurnStamp | None) -> bool:
        """Whether the proposed start of a turn opens it."""
        if stamp is None:
            return True
        is_enough = stamp.has_text or self._options.interrupt_on == "start"
        return is_enough and not self._order.is_over(stamp.turn)

    async def _text_arrived(self, frame: Frame) -> None:
        """Open a turn whose start was not let through, or which has ended without its text."""
        stamp = self._order.stamp_of(frame)
        if self._order.open is not None:
            if stamp is not None and self._order.is_later(stamp):
                self._order.hold(stamp)
        elif stamp is not None and not self._order.is_over(stamp.turn):
            await self._open(stamp.turn)
        elif stamp is None and isinstance(frame, TranscriptionFrame) and self._order.unfinished:
            await self._open(self._order.unfinished)

    async def _open(self, number: int | None) -> None:
        self._order.begin(number)
        self._recovery.turn_started(interrupts=self._options.enable_interruptions)
        await self.trigger_user_turn_started()


class InkUserTurnStopStrategy(BaseUserTurnStopStrategy):
    """Ends the user's turns, and answers their predicted ends."""

    def __init__(
        self, options: StrategyOptions, order: TurnOrder, recovery: EmptyTurnRecovery
    ) -> None:
        """Share the order with the start strategy of the same aggregator."""
        super().__init__()
        self._options = options
        self._order = order
        self._recovery = recovery
        self._reply = SpeculativeReply(
            options.speculations,
            timeout=options.speculation_timeout,
            begin=lambda speculation: self.trigger_user_turn_inference_triggered(
                speculation=speculation
            ),
            cancel=self.trigger_user_turn_speculation_cancelled,
        )
        self.wait_for_transcript = True
        self._is_ending = False
        self._ending = UserTurnStoppedParams(enable_user_speaking_frames=True)
        self._has_ended = False
        self._tried_again = asyncio.Event()
        self._is_adopted = False
        self._tasks: BaseTaskManager | None = None
        self._completing: set[asyncio.Task[None]] = set()

    @property
    def resolves_proposed_turn_stop_frames(self) -> bool:
        """Whether this strategy resolves proposals into turn stops."""
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Start with the aggregator that adopts the strategy."""
        await super().setup(setup)
        pipeline = setup.pipeline_worker.pipeline
        self._recovery.aggregator = find_aggregator(pipeline, self)
        self._tasks = setup.task_manager
        self._reply.start(setup.task_manager, pipeline)
        self._is_adopted = True
        self._options.adopted(1)

    async def cleanup(self) -> None:
        """Stop with the aggregator that lets go of the strategy."""
        if self._is_adopted:
            self._is_adopted = False
            self._options.adopted(-1)
        if self._tasks is not None:
            for task in list(self._completing):
                await self._tasks.cancel_task(task)
        await self._reply.stop()
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def handle_user_turn_stopped(self) -> None:
        """Take note of a turn that somebody else has ended, such as the aggregator's watchdog."""
        self._has_ended = True
        if not self._is_ending:
            self._order.open = None
            await self._reply.withdraw()
            await self._release_held_start()

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Handle a frame.

        Args:
            frame: What has reached the aggregator.

        Returns:
            Always CONTINUE, so that further strategies see the frame.
        """
        self._recovery.observe(frame)
        match frame:
            case RepeatedStopFrame():
                if self._is_ending:
                    await self._try_to_finalize()
                    self._tried_again.set()
            case ProposedUserStoppedSpeakingFrame():
                await self._stop_proposed(self._order.stamp_of(frame))
            case UserStoppedSpeakingFrame():
                if self._order.open is not None:
                    self._order.open.announced_elsewhere = True
                await self._stop_proposed(None)
            case TranscriptionFrame() if frame.text.strip():
                await self._final_arrived(frame)
            case EagerTranscriptionFrame():
                await self._end_predicted(frame)
            case EagerEndOfTurnCancelFrame():
                await self._prediction_taken_back(frame)
            case InterruptionFrame():
                await self._reply.lost()
        return ProcessFrameResult.CONTINUE

    # -- predicted ends ---------------------------------------------------------------------------

    async def _end_predicted(self, frame: EagerTranscriptionFrame) -> None:
        turn = self._order.open
        if turn is None or turn.stop_proposed or self._is_ending or not self._options.eager:
            return
        stamp = self._order.stamp_of(frame)
        if stamp is not None and self._order.is_taken_back(stamp):
            return
        if self._order.concerns_open(frame) and frame.text.strip():
            await self._reply.begin(turn.text + frame.text)

    async def _prediction_taken_back(self, frame: EagerEndOfTurnCancelFrame) -> None:
        """The frame goes on to the LLM, but it may have overtaken the prediction on its way."""
        if (stamp := self._order.stamp_of(frame)) is None:
            await self._reply.lost(may_hold=False)
        else:
            self._order.take_back(stamp)
            await self._reply.taken_back()

    # -- ends -------------------------------------------------------------------------------------

    async def _stop_proposed(self, stamp: TurnStamp | None) -> None:
        if stamp is not None:
            self._order.stopped(stamp)
        turn = self._order.open
        if turn is None or (stamp and turn.number is not None and stamp.turn != turn.number):
            return
        turn.stop_proposed = True
        has_none = stamp is not None and not stamp.has_text
        if turn.text or has_none or not self.wait_for_transcript:
            await self._end_turn()

    async def _final_arrived(self, frame: TranscriptionFrame) -> None:
        if (turn := self._order.open) is None:
            return
        # It may be the frame of another processor; an interruption must not stop us half-way.
        uninterruptible(frame)
        if (stamp := self._order.stamp_of(frame)) is not None:
            self._order.advance(stamp)
        turn.text += frame.text
        if not turn.stop_proposed:
            return
        is_complete = stamp is not None or frame.finalized or self._order.has_later
        if is_complete or self._tasks is None:
            await self._end_turn()
        else:
            task = self._tasks.create_task(self._end_when_complete(turn, turn.text), "text of turn")
            self._completing.add(task)
            task.add_done_callback(self._completing.discard)

    async def _end_when_complete(self, turn: OpenTurn, text: str) -> None:
        """End a turn whose end was proposed before its text came, unless there is more of that."""
        await asyncio.sleep(_PIECES_SECONDS)
        if self._order.open is turn and turn.text == text:
            await self._end_turn()

    async def _end_turn(self) -> None:
        """End the open turn, with or without text."""
        turn = self._order.open
        if turn is None or self._is_ending:
            return
        self._is_ending, self._has_ended = True, False
        self._reply.observer.expect_context()
        try:
            if not turn.text.strip():
                await self._reply.discard()
                if await self._recovery.end_turn(lambda: self._finalize(turn)):
                    await self._reply.observer.context_arrived()
            elif await self._reply.confirm(turn.text):
                await self._finalize(turn, confirms_speculation=True)
                self._recovery.turn_answered()
            else:
                await self.trigger_user_turn_inference_triggered()
                await self._finalize(turn)
                self._recovery.turn_answered()
                await self._reply.observer.context_arrived()
        finally:
            self._order.end()
            self._is_ending = False
            await self._release_held_start()

    async def _finalize(self, turn: OpenTurn, *, confirms_speculation: bool = False) -> None:
        self._ending = UserTurnStoppedParams(
            enable_user_speaking_frames=not turn.announced_elsewhere,
            confirms_speculation=confirms_speculation,
        )
        await self._try_to_finalize()
        if not self._has_ended:
            # The user has begun to speak again, and the aggregator ends no turn meanwhile.
            self._tried_again.clear()
            await self.push_frame(RepeatedStopFrame())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tried_again.wait(), _REPEAT_SECONDS)

    async def _try_to_finalize(self) -> None:
        await self.trigger_user_turn_finalized(
            enable_user_speaking_frames=self._ending.enable_user_speaking_frames,
            confirms_speculation=self._ending.confirms_speculation,
        )

    async def _release_held_start(self) -> None:
        """Put the start of the next turn to the aggregator again, now that it can be opened."""
        if (held := self._order.take_held()) is not None:
            await self.push_frame(held.put_on(ProposedUserStartedSpeakingFrame()))


def recommended_strategies(options: StrategyOptions) -> UserTurnStrategies:
    """Build the strategies of one user aggregator.

    Args:
        options: Of the service.

    Returns:
        The framework's own container, with our strategies in it.
    """
    strategies: UserTurnStrategies
    if options.eager:
        strategies = EagerUserTurnStrategies(
            match_policy=options.speculations.match_policy,
            speculation_timeout=options.speculation_timeout,
            enable_interruptions=options.enable_interruptions,
        )
    else:
        strategies = ExternalUserTurnStrategies(enable_interruptions=options.enable_interruptions)
    order, recovery = TurnOrder(options.service), EmptyTurnRecovery()
    strategies.start = [InkUserTurnStartStrategy(options, order, recovery)]
    strategies.stop = [InkUserTurnStopStrategy(options, order, recovery)]
    return strategies
