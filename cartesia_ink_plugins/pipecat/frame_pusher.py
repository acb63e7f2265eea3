"""From the turn events of a session to Pipecat frames, in the order of the events.

A prediction that a resume or the end of the turn has overtaken is left out, and one that is taken
back waits a moment for the same words to end the turn again. What becomes of the frames is decided
where they arrive, by the turn strategies.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.turns.user_stop import EagerMatchPolicy
from pipecat.utils.time import time_now_iso8601

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.wire import wire_fields
from cartesia_ink_plugins.pipecat.latency import LatencyMeter
from cartesia_ink_plugins.pipecat.muted_text import MutedText
from cartesia_ink_plugins.pipecat.speech_frames import SpeechFrames
from cartesia_ink_plugins.pipecat.turn_frames import (
    EagerFrame,
    FinalFrame,
    StopFrame,
    TurnStamp,
    uninterruptible,
)

TurnText: TypeAlias = TurnUpdate | TurnEagerEnd | TurnEnd
# Seconds that a frame is given to be handled before a system frame follows it that must not
# overtake it, when the strategies are not ours and cannot put them in order.
_TRAVEL_SECONDS = 0.01


class FramePusher:
    """Pushes the frames of one service; `feed` it, while a task runs `run`."""

    def __init__(
        self,
        service: STTService,
        *,
        language: Language | None,
        eager: bool,
        match_policy: EagerMatchPolicy,
        resume_grace: float,
        meter: LatencyMeter,
        speech: SpeechFrames,
        user_id: Callable[[], str],
        has_own_strategies: Callable[[], bool],
        after_final: Callable[[str, bool, Language | None], Awaitable[None]],
        call: Callable[..., Awaitable[None]],
    ) -> None:
        """Prepare to run.

        Args:
            service: Where frames are pushed from.
            language: What the model understands, when it is only one.
            eager: Whether predicted ends of turns are pushed.
            match_policy: Whether a reply to some words also answers some other words.
            resume_grace: Seconds after a resume in which the same words may end the turn again.
            meter: Measures what the user waits for.
            speech: Reports when the user spoke.
            user_id: Tells who speaks.
            has_own_strategies: Tells whether a user aggregator uses the recommended strategies.
            after_final: Called with the text of a turn that was pushed.
            call: Calls the user's handlers of a named event.
        """
        self._service = service
        self._language = language
        self._eager = eager
        self._match_policy = match_policy
        self._resume_grace = resume_grace
        self._meter = meter
        self._speech = speech
        self._user_id = user_id
        self._has_own_strategies = has_own_strategies
        self._after_final = after_final
        self._call = call
        self._pending: deque[TurnEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._muted_text = MutedText()
        self._turn = self._predictions = 0
        self._is_turn_open = self._has_text = False
        self._text_pushed_at = 0.0
        self._prediction: str | None = None
        self._take_back_at: float | None = None

    @property
    def is_prediction_pending(self) -> bool:
        """Whether a predicted end was pushed that is neither taken back nor confirmed."""
        return self._prediction is not None

    def feed(self, event: TurnEvent) -> None:
        """Take the next turn event."""
        self._pending.append(event)
        self._wake.set()

    def close(self) -> None:
        """No more events will come; `run` returns when the last one is handled."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Push the frames of events until `close`."""
        while (event := await self._next()) is not None:
            match event:
                case TurnStart():
                    await self._push_start()
                    await self._call("on_turn_start", "")
                case TurnUpdate():
                    await self._push_interim(event)
                    await self._call("on_turn_update", event.transcript)
                case TurnEagerEnd():
                    await self._push_eager(event)
                    await self._call("on_turn_eager_end", event.transcript)
                case TurnResume():
                    await self._push_resume()
                    await self._call("on_turn_resume")
                case TurnEnd():
                    await self._push_end(event)
                    await self._call("on_turn_end", event.transcript)

    async def _next(self) -> TurnEvent | None:
        """Wait for the next event, and take a prediction back when its grace is over."""
        while not self._pending:
            if self._closed:
                return None
            self._wake.clear()
            try:
                async with asyncio.timeout_at(self._take_back_at):
                    await self._wake.wait()
            except TimeoutError:
                await self._take_back()
        return self._pending.popleft()

    # -- mute -------------------------------------------------------------------------------------

    def mute_started(self) -> None:
        """The user aggregator drops what arrives from now on."""
        self._muted_text.mute_started()

    async def mute_ended(self, position: float) -> None:
        """The user aggregator takes frames again.

        Args:
            position: Seconds of the stream that were handed in so far.
        """
        self._muted_text.mute_ended(time.time(), position)
        if self._turn and not self._is_turn_open and self._has_own_strategies():
            # The end of the turn may have been dropped; where it was not, this changes nothing.
            await self._broadcast_stop(has_text=False)

    # -- frames -----------------------------------------------------------------------------------

    async def _push_start(self) -> None:
        await self._let_text_arrive()
        self._turn += 1
        self._is_turn_open, self._has_text, self._predictions = True, False, 0
        self._muted_text.turn_started()
        self._meter.turn_started()
        self._speech.turn_started()
        down, up = ProposedUserStartedSpeakingFrame(), ProposedUserStartedSpeakingFrame()
        await self._broadcast(down, up, self._stamp())

    async def _push_interim(self, event: TurnUpdate) -> None:
        if text := self._text_of(event):
            await self._take_back_unless_matching(text)
            await self._push_text(InterimTranscriptionFrame(text, *self._about(event)), event)

    async def _push_eager(self, event: TurnEagerEnd) -> None:
        if not (text := self._text_of(event)) or not self._eager:
            return
        await self._take_back_unless_matching(text)
        if any(isinstance(e, TurnResume | TurnEnd) for e in self._pending):
            return
        self._take_back_at = None
        if self._prediction is None:
            self._prediction = text
            self._predictions += 1
            await self._meter.turn_may_have_ended(event)
            await self._push_text(uninterruptible(EagerFrame(text, *self._about(event))), event)

    async def _push_resume(self) -> None:
        if self._prediction is not None and self._has_own_strategies():
            self._take_back_at = asyncio.get_running_loop().time() + self._resume_grace
        else:
            await self._take_back()

    async def _take_back_unless_matching(self, text: str) -> None:
        if self._prediction and not self._match_policy.matches(self._prediction, text):
            await self._take_back()

    async def _take_back(self) -> None:
        self._take_back_at = None
        if self._prediction is not None:
            self._prediction = None
            await self._let_text_arrive()
            await self._service.push_frame(self._stamp().put_on(EagerEndOfTurnCancelFrame()))

    async def _push_end(self, event: TurnEnd) -> None:
        self._is_turn_open = False
        self._prediction = self._take_back_at = None
        if text := self._text_of(event):
            await self._speech.turn_ended(event.timing, is_muted=self._muted_text.is_muted)
            await self._meter.turn_ended(event)
            final = uninterruptible(FinalFrame(text, *self._about(event), finalized=True))
            await self._push_text(final, event)
            await self._after_final(text, True, self._language)
        await self._broadcast_stop(has_text=bool(text))

    async def _broadcast_stop(self, *, has_text: bool) -> None:
        stamp = replace(self._stamp(), has_text=has_text)
        await self._broadcast(uninterruptible(StopFrame()), uninterruptible(StopFrame()), stamp)

    async def _push_text(self, frame: Any, event: TurnText) -> None:
        if not self._muted_text.is_muted:
            await self._speech.text_arrived(event.timing)
        frame.includes_inter_frame_spaces = True
        self._has_text = True
        await self._service.push_frame(self._stamp().put_on(frame))
        self._text_pushed_at = time.monotonic()

    async def _broadcast(self, down: Frame, up: Frame, stamp: TurnStamp) -> None:
        down.broadcast_sibling_id, up.broadcast_sibling_id = up.id, down.id
        await self._service.push_frame(stamp.put_on(down))
        await self._service.push_frame(stamp.put_on(up), FrameDirection.UPSTREAM)

    async def _let_text_arrive(self) -> None:
        """Wait until a system frame that is pushed now does not overtake the text before it.

        The strategies of others have no means to put the two in order.
        """
        if not self._has_own_strategies():
            await asyncio.sleep(self._text_pushed_at + _TRAVEL_SECONDS - time.monotonic())

    def _stamp(self) -> TurnStamp:
        return TurnStamp(self._service.name, self._turn, self._predictions, self._has_text)

    def _text_of(self, event: TurnText) -> str:
        """The text of an event that counts; empty when it is nothing but spaces."""
        text = self._muted_text.without_muted(event.transcript, event.timing)
        return text if text.strip() else ""

    def _about(self, event: TurnText) -> tuple[str, str, Language | None, dict[str, Any]]:
        """Who spoke, when, in which language, and the message itself."""
        return self._user_id(), time_now_iso8601(), self._language, wire_fields(event)
