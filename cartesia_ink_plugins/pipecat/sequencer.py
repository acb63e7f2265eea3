"""From turn events to frames, in an order that survives Pipecat's queues.

Turn events come in the order in which they happened. Pipecat keeps the order of data frames, but a
system frame overtakes them in every processor on its way. Four rules keep the conversation right:

- what is void before it was sent is not sent: a prediction whose resume or end is already here;
- a system frame that must come after a data frame waits until the aggregator has handled that frame
  (`TurnWitness`): a withdrawal behind its prediction, the next start behind the last final;
- an interruption is sent by the service, downstream before the words that follow it, so that it can
  never flush them;
- words said while the user was muted are not repeated; a turn that goes on after is opened then.

One task runs `TurnSequencer.run`; `feed` and `observe` are called from others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EagerEndOfTurnCancelFrame,
    Frame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.turns.user_stop import EagerMatchPolicy, NormalizedMatch

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.pipecat.speculation import (
    SpeculationCounts,
    SpeculationOutcome,
    SpeculationPolicy,
    SpeculationReport,
)
from cartesia_ink_plugins.pipecat.witness import TurnWitness

TurnText: TypeAlias = TurnUpdate | TurnEagerEnd | TurnEnd
InterruptOn: TypeAlias = Literal["start", "words"]


class Outlet(Protocol):
    """Where frames go; the service, with the framework behind it."""

    async def propose_start(self, expect: Callable[[Frame], None]) -> None:
        """Propose that the user's turn has started."""

    async def propose_stop(self, expect: Callable[[Frame], None]) -> None:
        """Propose that the user's turn has ended."""

    async def interrupt(self) -> None:
        """Stop the bot."""

    async def push_interim(self, text: str, event: TurnText) -> None:
        """Push words that may still grow."""

    async def push_eager(self, text: str, event: TurnText, expect: Callable[[Frame], None]) -> None:
        """Push the words of a turn that has probably ended."""

    async def push_withdrawal(self) -> None:
        """Withdraw the prediction."""

    async def push_final(self, text: str, event: TurnEnd) -> None:
        """Push the words of a turn that has ended."""

    async def answer_again(self) -> None:
        """Have the bot take up the reply that noise has cut off."""

    async def notify(self, event: TurnEvent) -> None:
        """Call the user's handlers of a turn event."""

    async def report(self, report: SpeculationReport) -> None:
        """Tell what became of a speculation."""


@dataclass(slots=True)
class _Turn:
    """The turn that is open.

    Attributes:
        transcript: Its words so far, verbatim.
        unheard: How many characters of them were said while the user was muted.
        announced: Whether its start was let through; not while the user is muted.
        interruption_due: Whether the bot is still to be interrupted for it.
    """

    transcript: str = ""
    unheard: int = 0
    announced: bool = True
    interruption_due: bool = False


@dataclass(frozen=True, slots=True)
class _Speculation:
    text: str
    began: float


@dataclass(frozen=True, slots=True)
class _Unmuted:
    """The aggregator listens to the user again."""


class TurnSequencer:
    """Turns the events of one session into frames."""

    def __init__(
        self,
        outlet: Outlet,
        witness: TurnWitness,
        *,
        policy: SpeculationPolicy | None,
        match: EagerMatchPolicy | None = None,
        interrupts: bool = True,
        interrupt_on: InterruptOn = "start",
        resume_grace: float = 0.25,
    ) -> None:
        """Prepare to run.

        Args:
            outlet: Where frames go.
            witness: Tells what the aggregator has handled.
            policy: Decides which predicted ends of turn are answered; None for none of them.
            match: Whether a reply to some words also answers some other words.
            interrupts: Whether the user interrupts the bot at all.
            interrupt_on: Whether the start of a turn or its first words interrupt the bot.
            resume_grace: Seconds after a resume in which the same words may end the turn again
                without costing another reply.
        """
        self._outlet = outlet
        self._witness = witness
        self._policy = policy
        self._match = match or NormalizedMatch()
        self._interrupts = interrupts
        self._interrupt_on = interrupt_on
        self._resume_grace = resume_grace
        self._pending: deque[TurnEvent | _Unmuted] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._turn: _Turn | None = None
        self._speculation: _Speculation | None = None
        self._withdraw_at: float | None = None
        self._counts = SpeculationCounts()
        self._user_muted = False
        self._user_turn_open = False
        # An interruption may be on its way that would take a prediction with it.
        self._may_be_cut = False
        # The bot speaks or is about to; and an interruption has cut that off.
        self._bot_busy = False
        self._reply_cut = False

    @property
    def is_speculating(self) -> bool:
        """Whether a reply was begun that may still be withdrawn."""
        return self._speculation is not None

    # -- what others tell -------------------------------------------------------------------------

    def feed(self, event: TurnEvent) -> None:
        """Take the next turn event."""
        self._pending.append(event)
        self._wake.set()

    def close(self) -> None:
        """No more events will come; `run` returns when the last one is handled."""
        self._closed = True
        self._wake.set()

    async def observe(self, frame: Frame) -> None:
        """Learn from a frame that comes back up the pipeline."""
        match frame:
            case UserMuteStartedFrame():
                self._user_muted = True
            case UserMuteStoppedFrame():
                self._pending.append(_Unmuted())
                self._wake.set()
            case UserStartedSpeakingFrame() | UserStoppedSpeakingFrame():
                self._user_turn_open = isinstance(frame, UserStartedSpeakingFrame)
            case BotStartedSpeakingFrame() | BotStoppedSpeakingFrame():
                self._bot_busy = isinstance(frame, BotStartedSpeakingFrame)
            case EagerEndOfTurnCancelFrame():
                # Somebody else has withdrawn the reply, such as an LLM that wants to call a tool.
                await self._resolve(SpeculationOutcome.WITHDRAWN)

    # -- one task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle events until `close`."""
        while (event := await self._next()) is not None:
            match event:
                case TurnStart():
                    await self._start(event)
                case TurnUpdate():
                    await self._update(event)
                case TurnEagerEnd():
                    await self._eager_end(event)
                case TurnResume():
                    await self._resume(event)
                case TurnEnd():
                    await self._end(event)
                case _Unmuted():
                    await self._unmuted()

    async def _next(self) -> TurnEvent | _Unmuted | None:
        """Wait for the next event, and withdraw a speculation when its grace is over."""
        while not self._pending:
            if self._closed:
                return None
            self._wake.clear()
            if self._withdraw_at is None:
                await self._wake.wait()
                continue
            try:
                async with asyncio.timeout_at(self._withdraw_at):
                    await self._wake.wait()
            except TimeoutError:
                await self._withdraw()
        return self._pending.popleft()

    async def _start(self, event: TurnStart) -> None:
        self._turn = _Turn(interruption_due=self._interrupts)
        await self._announce(self._turn)
        await self._outlet.notify(event)

    async def _announce(self, turn: _Turn) -> None:
        """Propose the start of a turn, unless the aggregator would not listen."""
        turn.announced = not self._user_muted
        await self._outlet.propose_start(self._witness.expect)
        if self._interrupt_on == "start":
            await self._interrupt(turn)
        # Strategies of the user's own may interrupt from where they are, upstream.
        self._may_be_cut = not self._witness.attached

    async def _interrupt(self, turn: _Turn) -> None:
        if not turn.interruption_due:
            return
        turn.interruption_due = False
        if self._witness.attached and not self._user_muted:
            self._reply_cut, self._bot_busy = self._bot_busy, False
            await self._outlet.interrupt()

    async def _update(self, event: TurnUpdate) -> None:
        if (text := await self._hear(event)) and self._turn:
            await self._withdraw_unless_matching(text)
            await self._outlet.push_interim(text, event)
        await self._outlet.notify(event)

    async def _eager_end(self, event: TurnEagerEnd) -> None:
        text = await self._hear(event)
        if text.strip():
            await self._withdraw_unless_matching(text)
        if self._worth_answering(text):
            if self._may_be_cut:
                self._may_be_cut = False
                await self._witness.settled()
            self._speculation = _Speculation(text, asyncio.get_running_loop().time())
            await self._outlet.push_eager(text, event, self._witness.expect)
            await self._witness.settled()
        self._withdraw_at = None
        await self._outlet.notify(event)

    def _worth_answering(self, text: str) -> bool:
        """Whether to begin a reply that may be thrown away."""
        if self._policy is None or self._speculation or self._user_muted or not text.strip():
            return False
        if any(isinstance(event, TurnResume | TurnEnd) for event in self._pending):
            return False
        if self._bot_busy and not self._interrupts:
            # The LLM still generates an earlier reply, and cannot be told to skip a queued one.
            return False
        return self._policy.should_speculate(text)

    async def _resume(self, event: TurnResume) -> None:
        if self._speculation:
            self._withdraw_at = asyncio.get_running_loop().time() + self._resume_grace
        await self._outlet.notify(event)

    async def _end(self, event: TurnEnd) -> None:
        text = await self._hear(event)
        if speculation := self._speculation:
            kept = self._match.matches(speculation.text, text)
            await self._resolve(SpeculationOutcome.KEPT if kept else SpeculationOutcome.MISMATCHED)
        if text.strip():
            if not self._user_muted:
                self._bot_busy, self._reply_cut = True, False
            await self._outlet.push_final(text, event)
        await self._outlet.propose_stop(self._witness.expect)
        if self._reply_cut:
            self._reply_cut = False
            await self._outlet.answer_again()
        self._turn = None
        if not self._user_muted:
            await self._witness.settled()
        await self._outlet.notify(event)

    async def _hear(self, event: TurnText) -> str:
        """Take the words of an event; open the turn and interrupt the bot if they are the first.

        Returns:
            The words, without those that were said while the user was muted.
        """
        if (turn := self._turn) is None:
            return ""
        turn.transcript = event.transcript
        text = _words_after(event.transcript, turn.unheard)
        if not text.strip():
            return ""
        if not turn.announced and not self._user_muted:
            await self._announce(turn)
        await self._interrupt(turn)
        return text

    async def _unmuted(self) -> None:
        """Go on with a turn that began while nobody listened; end one that nobody saw ending."""
        self._user_muted = False
        if self._turn and not self._user_turn_open:
            self._turn.announced = False
            self._turn.interruption_due = self._interrupts
            self._turn.unheard = len(self._turn.transcript)
        elif not self._turn and self._user_turn_open:
            await self._outlet.propose_stop(self._witness.expect)

    # -- speculation ------------------------------------------------------------------------------

    async def _withdraw_unless_matching(self, text: str) -> None:
        if self._speculation and not self._match.matches(self._speculation.text, text):
            await self._withdraw()

    async def _withdraw(self) -> None:
        if self._speculation:
            await self._outlet.push_withdrawal()
            await self._resolve(SpeculationOutcome.WITHDRAWN)

    async def _resolve(self, outcome: SpeculationOutcome) -> None:
        """Forget the speculation, and tell what became of it."""
        speculation, self._speculation, self._withdraw_at = self._speculation, None, None
        if speculation is None:
            return
        self._counts = self._counts.counting(outcome)
        lead = asyncio.get_running_loop().time() - speculation.began
        report = SpeculationReport(outcome, lead, self._counts)
        if self._policy:
            self._policy.resolved(report)
        await self._outlet.report(report)


def _words_after(transcript: str, unheard: int) -> str:
    """What was said after the first `unheard` characters, with the word that they cut in two."""
    known, heard = transcript[:unheard], transcript[unheard:]
    if known[-1:].isalnum() and heard[:1].isalnum():
        return known.split()[-1] + heard
    return heard
