"""The reply to a predicted end of turn, from the view of one user aggregator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.turns.types import UserTurnSpeculation
from pipecat.utils.asyncio.task_manager import BaseTaskManager

from cartesia_ink_plugins.core.tap import SpeculationOutcome
from cartesia_ink_plugins.pipecat.llm_observer import TRAVEL_SECONDS, ReplyObserver, SpeculativeText
from cartesia_ink_plugins.pipecat.speculation import SpeculationTracker

# Seconds that a prediction may take to the LLM service; other processors, such as a memory that is
# asked over the network, may hold it up.
_PATIENCE = 2.0


class SpeculativeReply:
    """Begins a reply, and withdraws or confirms it; there is at most one."""

    def __init__(
        self,
        tracker: SpeculationTracker,
        *,
        timeout: float,
        begin: Callable[[UserTurnSpeculation], Awaitable[None]],
        cancel: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin nothing yet.

        Args:
            tracker: Decides which predictions are answered, and is told what became of them.
            timeout: Seconds that a prediction may stay open.
            begin: Has the aggregator run a speculative inference.
            cancel: Has the aggregator withdraw the reply.
        """
        self._tracker = tracker
        self._timeout = timeout
        self._begin = begin
        self._cancel = cancel
        self.observer = ReplyObserver(on_begun=tracker.began, on_lost=self.lost)
        self._text: SpeculativeText | None = None
        self._began_at = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._tasks: BaseTaskManager | None = None
        self._withdrawal: asyncio.Task[None] | None = None
        # Something on the way to the LLM keeps predictions to itself: no more waiting for them.
        self._gets_lost = False

    def start(self, tasks: BaseTaskManager, pipeline: FrameProcessor) -> None:
        """An aggregator adopts the strategies.

        Args:
            tasks: Its task manager.
            pipeline: Where the LLM services are.
        """
        self._tasks = tasks
        self.observer.attach(pipeline)

    async def stop(self) -> None:
        """The aggregator lets go of the strategies: withdraw at once, and tell nobody."""
        withdrawal, self._withdrawal = self._withdrawal, None
        is_pending = withdrawal is not None and not withdrawal.done()
        if withdrawal is not None and self._tasks is not None:
            await self._tasks.cancel_task(withdrawal)
        if self._text is not None or is_pending:
            self._forget()
            self.observer.give_up()
            # Other strategies would end their next turn with the reply that is held.
            await self._cancel()
        self.observer.detach()

    async def begin(self, text: str) -> None:
        """The turn has probably ended; answer it, if that is worth it.

        Args:
            text: Of the turn so far.
        """
        if self._text is not None:
            if self._matches(text):
                self._set_deadline(self._timeout)
                return
            await self.withdraw()
        await self._withdrawn()
        if self.observer.is_busy or not self._tracker.should_speculate(text):
            return
        self._text = SpeculativeText(text)
        self._began_at = asyncio.get_running_loop().time()
        self.observer.expect(self._text)
        self._set_deadline(self._timeout)
        if not self.observer.sees_any:
            self._tracker.began()
        await self._begin(UserTurnSpeculation(text=self._text))

    async def taken_back(self) -> None:
        """The user goes on, and the frame that says so is on its way to the LLM service."""
        if self.observer.has_begun or not self.observer.sees_any:
            await self.lost(may_hold=False)
        else:
            self._begin_withdrawal()

    async def lost(self, may_hold: bool = True) -> None:
        """Somebody else has dropped the reply, or has given the LLM something else to answer.

        Args:
            may_hold: Whether the LLM service may still hold a part of it, and would release that.
        """
        if self._text is None:
            return
        if not self.observer.has_begun and self.observer.sees_any:
            # It may be dropped on its way to the LLM service, or not.
            self._begin_withdrawal(TRAVEL_SECONDS)
            return
        await self._resolve(SpeculationOutcome.WITHDRAWN)
        if may_hold:
            await self._cancel()

    async def withdraw(self) -> None:
        """Withdraw the reply, as soon as the LLM service has begun it, and do not wait for that."""
        if self.observer.has_begun or not self.observer.sees_any:
            await self.discard(SpeculationOutcome.WITHDRAWN)
        else:
            self._begin_withdrawal()

    async def discard(self, outcome: SpeculationOutcome = SpeculationOutcome.MISMATCHED) -> None:
        """Withdraw the reply, and return when that is done."""
        await self._withdrawn()
        if self._text is not None:
            self._clear_deadline()
            await self._wait_until_begun()
            if self._text is not None:
                self.observer.forget()
                await self._cancel()
                await self._resolve(outcome)

    async def confirm(self, text: str) -> bool:
        """The turn has ended.

        Args:
            text: Of the whole turn.

        Returns:
            Whether there is a reply to this text.
        """
        await self._withdrawn()
        if self._text is None:
            return False
        if not self._matches(text):
            await self.discard()
            return False
        self._clear_deadline()
        if not await self._wait_until_begun():
            self._forget()
        if self._text is None:
            return False
        self.observer.forget()
        await self._resolve(SpeculationOutcome.KEPT)
        return True

    # -- inside -----------------------------------------------------------------------------------

    def _matches(self, text: str) -> bool:
        return self._text is not None and self._tracker.match_policy.matches(self._text, text)

    async def _wait_until_begun(self) -> bool:
        begun = await self.observer.begun(TRAVEL_SECONDS if self._gets_lost else _PATIENCE)
        self._gets_lost = not begun
        return begun

    async def _withdraw_when_begun(self, began_at: float, patience: float | None) -> None:
        if patience is None:
            begun = await self._wait_until_begun()
        else:
            begun = await self.observer.begun(patience)
        self.observer.forget()
        await self._cancel()
        if begun:
            await self._tracker.resolved(
                SpeculationOutcome.WITHDRAWN, began_at, self.observer.frame_id
            )

    async def _withdrawn(self) -> None:
        """Wait for a withdrawal that is under way."""
        if (withdrawal := self._withdrawal) is not None:
            await asyncio.wait([withdrawal])
            self._withdrawal = None

    async def _resolve(self, outcome: SpeculationOutcome) -> None:
        """Tell what became of the reply, if there was one."""
        self._forget()
        if self.observer.has_begun or not self.observer.sees_any:
            await self._tracker.resolved(outcome, self._began_at, self.observer.frame_id)

    def _forget(self) -> None:
        self._text = None
        self._clear_deadline()

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(seconds, self._begin_withdrawal)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _begin_withdrawal(self, patience: float | None = None) -> None:
        if self._text is not None and self._tasks is not None:
            self._forget()
            self._withdrawal = self._tasks.create_task(
                self._withdraw_when_begun(self._began_at, patience), "speculation withdrawal"
            )
