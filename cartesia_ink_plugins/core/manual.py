"""A manual-finalize session, without IO: the caller says when speech is over.

    audio ─▶ ... ─▶ finalize ─▶ transcripts (deltas) ─▶ flush_done ─▶ Final

`Link` moves the audio over as many connections as it takes, `Dictation` makes finals of deltas; the
session keeps `finalize` at its place in the audio, sends it again after a loss, and bounds every
wait. Every method that can change something takes `now`, as those of `TurnsSession` do.

https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.dictation import Dictation
from cartesia_ink_plugins.core.errors import ClosedError, RefusedError, UsageError, is_permanent
from cartesia_ink_plugins.core.events import (
    Connected,
    DialFailed,
    Disconnected,
    ErrorMessage,
    Final,
    Interim,
    Malformed,
    ManualEvent,
    Unknown,
    decode,
)
from cartesia_ink_plugins.core.flushes import MOST_REPLAYS
from cartesia_ink_plugins.core.link import Action, Drop, Link, LinkState
from cartesia_ink_plugins.core.manual_options import ManualOptions
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.pacing import SILENCE, Filler, Jitter
from cartesia_ink_plugins.core.transcripts import Done, FlushDone, Transcript

logger = logging.getLogger(__name__)

_CLOSE = "close"
_BEAT = 0.5
_RESTS_AFTER = 2.0
_CATCHING_UP = 0.3
_CLOSES_WITHIN = 1.0
_NORMAL_CLOSE, _POLICY_CLOSE = 1000, 1008
_SERVER_TROUBLE = (500, 1011)
_NEW_KEYTERMS = "new keyterms"
_NEVER = float("inf")


class ManualSession:
    """One stream over `/stt/websocket`, whatever becomes of its connections."""

    def __init__(
        self,
        options: ManualOptions,
        resilience: Resilience,
        *,
        jitter: Jitter,
        epoch: float = 0.0,
    ) -> None:
        """Prepare; nothing happens before `start` or the first audio.

        Args:
            options: What each connection asks for.
            resilience: How hard to fight for the caller's words.
            jitter: Returns a number from 0 to 1, to spread redials.
            epoch: Wall-clock time at `now` = 0, in seconds; speech times are given on that clock.
        """
        self.options = options
        self.link = Link(options.format, resilience, jitter)
        self.dictation = Dictation(self.link, epoch)
        self.request_id: str | None = None
        self.refusal: RefusedError | None = None
        self.irregular: dict[str, int] = {}
        self._resilience = resilience
        self._events: list[ManualEvent] = []
        self._filler = Filler(idle=resilience.idle == "silence")
        self._beat_at = _NEVER
        self._finish_deadline: float | None = None
        self._finish_wait = 0.0
        self._finish_replays = 0
        self._close_sent = self._answered = self._wants_redial = False

    # --- what the driver reads ---------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether this session is over: no action and no event will come any more."""
        return self.link.state is LinkState.CLOSED

    @property
    def deadline(self) -> float:
        """When `tick` must be called next; infinity when only the driver can say something."""
        if self.is_closed:
            return _NEVER
        deadline = min(self.link.deadline(), self._beat_at, self.dictation.flushes.deadline)
        return deadline if self._finish_deadline is None else min(deadline, self._finish_deadline)

    def take_actions(self) -> list[Action]:
        """What the driver is to do now, in order."""
        actions, self.link.actions = self.link.actions, []
        return actions

    def take_events(self) -> list[ManualEvent]:
        """What the application is to see now, in order."""
        events, self._events = self._events, []
        return events

    # --- what the application does ------------------------------------------------------------

    def start(self, now: float) -> None:
        """Dial at once, so that the first words do not wait for a handshake."""
        self._filler.audio(now)
        self._beat_at = now + _BEAT
        self.link.dial(now)

    def send_audio(self, pcm: bytes, now: float) -> None:
        """Take audio: whole samples in the format of the options.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The bytes are not whole samples.
        """
        self._check_open("send_audio")
        if not pcm:
            return
        self.link.format.check(len(pcm))
        self._filler.audio(now)
        self._beat_at = min(self._beat_at, now + _BEAT)
        self.dictation.voice.hear(pcm, now)
        self.link.take(pcm, now)
        self._events += self.link.take_gap()

    def finalize(self, now: float, timeout: float | None = None) -> int:
        """Say that speech is over; a `Final` with the words before this place follows.

        Without audio since the last one it is empty and follows at once. A second call at the same
        place means the same final.

        Args:
            now: The time.
            timeout: Seconds to wait once the audio is sent; after that the final has what is known.

        Returns:
            The number of the final, as in its `timing.turn`.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The timeout is not positive.
        """
        self._check_open("finalize")
        if timeout is not None and timeout <= 0:
            raise UsageError(f"timeout: {timeout} is not positive")
        dictation = self.dictation
        if dictation.is_finalized:
            self._tell([dictation.end(self.link.ledger.end, is_complete=True)])
            return dictation.number - 1
        wait = self._resilience.drain_timeout if timeout is None else timeout
        number = dictation.finalize(wait, now + wait + self.dictation.backlog_seconds)
        if self.link.state is LinkState.RESTING:
            self.link.dial(now)
        self._speak(now)
        return number

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Expect other words from the next pause on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many, or the model takes none.
        """
        options = replace(self.options, keyterms=keyterms)
        if options != self.options:
            self.options = options
            self._wants_redial = self.link.state in (LinkState.OPEN, LinkState.DIALLING)
            self._beat_at = min(self._beat_at, now)

    def finish(self, now: float, timeout: float | None = None) -> None:
        """Take no more audio; send what is left, say `close`, and give the last words."""
        if self._finish_deadline is not None or self.is_closed:
            return
        self._finish_wait = self._resilience.drain_timeout if timeout is None else timeout
        self._finish_deadline = now + self._finish_wait + self.dictation.backlog_seconds
        if self.link.state is LinkState.RESTING:
            if not self.dictation.is_owed_words:
                self._over(is_complete=True)
                return
            self.link.dial(now)
        self.link.flush(now)
        self._speak(now)

    def abort(self) -> None:
        """End at once, without the last words."""
        if not self.is_closed:
            self.dictation.flushes.clear()
            self.link.give_up_backlog()
            self._events += self.link.take_gap()
            self.link.close()

    # --- what the network does ----------------------------------------------------------------

    def opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; this endpoint does not say `connected`."""
        link = self.link
        self.request_id = request_id
        self._answered = False
        self._events.append(Connected(request_id))
        self._beat_at = min(self._beat_at, now + _BEAT)
        link.opened(self.dictation.reconnected(), now)
        self._events += link.take_gap()
        self.dictation.replay_begins(now)
        if self._finish_deadline is not None and self._finish_replays < MOST_REPLAYS:
            self._finish_replays += 1
            replayed = now + self._finish_wait + self.dictation.backlog_seconds
            self._finish_deadline = max(self._finish_deadline, replayed)
        self._speak(now)

    def refused(
        self, status: int, now: float, *, retry_after: float | None = None, message: str = ""
    ) -> None:
        """The upgrade was answered with an HTTP status instead."""
        reason = f"HTTP {status}" + (f": {message}" if message else "")
        if is_permanent(status):
            self._refuse(RefusedError(reason, status=status, request_id=self.request_id))
        elif status in (429, 503):
            delay = self.link.backoff.delay_when_busy(now, retry_after)
            self._lost(reason, status, now, delay=delay)
        else:
            self._lost(reason, status, now)

    def lost(self, reason: str, now: float, code: int | None = None) -> None:
        """The connection closed or broke, or could not be made."""
        if self.is_closed or self.link.state not in (LinkState.OPEN, LinkState.DIALLING):
            return
        if self._close_sent and (code == _NORMAL_CLOSE or not self.dictation.is_owed_words):
            self._over(is_complete=True)
        elif code == _POLICY_CLOSE and not self._answered:
            self._refuse(RefusedError(f"closed with 1008: {reason}", status=400))
        else:
            self._lost(reason, code, now)

    def receive(self, data: str | bytes, now: float) -> None:
        """One message came."""
        self.link.heard(now)
        if self.link.state is not LinkState.OPEN:
            return
        match message := decode(data):
            case Transcript():
                self._has_answered()
                self._tell(self.dictation.take(message, now))
            case FlushDone():
                self._has_answered()
                finals = self.dictation.answered()
                if not finals:
                    self._count("flush_done without finalize")
                self._tell(finals)
            case Done():
                if self._close_sent and self._finish_deadline is not None:
                    # Every word was said; the server closes, or else we do.
                    self._finish_deadline = min(self._finish_deadline, now + _CLOSES_WITHIN)
                    self._answered = True
                    self._tell(self.dictation.end_all(is_complete=True))
            case ErrorMessage():
                self._error(message, now)
            case Malformed() | Unknown():
                self._count(getattr(message, "why", "unknown type"))

    def pong(self, now: float) -> None:
        """A ping was answered."""
        self.link.pong(now)

    def tick(self, now: float) -> None:
        """Look at the clock; call it at `deadline`, or any time."""
        if self.is_closed:
            return
        if self._finish_deadline is not None and now >= self._finish_deadline:
            self._over(is_complete=False)
            return
        if reason := self.link.tick(now):
            self._drop(reason, None, now)
        self._give_up_late(now)
        self._speak(now)
        if now >= self._beat_at:
            self._beat(now)

    # --- inside -------------------------------------------------------------------------------

    def _check_open(self, method: str) -> None:
        if self._finish_deadline is not None or self.is_closed:
            raise ClosedError(f"{method}: the session is finished and takes no more audio")

    def _speak(self, now: float) -> None:
        """Say `finalize` and `close` where they belong in the audio."""
        link = self.link
        self.dictation.speak(now)
        if self._finish_deadline is None or self._close_sent or link.state is not LinkState.OPEN:
            return
        if link.sent == link.ledger.end and not self.dictation.flushes.unsent:
            link.actions.append(_CLOSE)
            self._close_sent = True

    def _has_answered(self) -> None:
        self.link.progress()
        self._answered = True

    def _tell(self, events: Sequence[Interim | Final]) -> None:
        self._events += (replace(event, request_id=self.request_id) for event in events)

    def _give_up_late(self, now: float) -> None:
        """Answer for the server where it does not answer in time."""
        given_up = False
        while flush := self.dictation.flushes.late(now):
            self._tell([self.dictation.end(flush.position, is_complete=False)])
            given_up = given_up or flush.sent
        if given_up and self.link.state is LinkState.OPEN:
            # What is late on this connection cannot be told from what is not.
            self._drop("no answer to finalize", None, now)

    def _beat(self, now: float) -> None:
        """What has to be looked at every half second."""
        link = self.link
        self._beat_at = _NEVER if link.state is LinkState.RESTING else now + _BEAT
        if link.state is not LinkState.OPEN or link.backlog:
            return
        for _ in range(self._filler.due(now, in_turn=False)):
            link.send_silence(SILENCE)
        self.dictation.pass_silence(now)
        if self._wants_redial and not self.dictation.is_owed_words:
            self._wants_redial = False
            self._drop(_NEW_KEYTERMS, None, now)

    # --- errors and losses --------------------------------------------------------------------

    def _error(self, message: ErrorMessage, now: float) -> None:
        """The server complains inside the connection; what follows is its end, said or unsaid."""
        reason = f"error {message.status}: {message.title or message.code or 'untitled'}"
        if self._close_sent and not self.dictation.is_owed_words:
            logger.debug("%s after close", reason)
        elif not is_permanent(message.status):
            self._events.append(message)
            self._drop(reason, message.status, now)
        else:
            self._refuse(
                RefusedError(
                    f"{message.title or 'refused'}: {message.message}",
                    status=message.status,
                    code=message.code,
                    request_id=message.request_id or self.request_id,
                )
            )

    def _drop(self, reason: str, code: int | None, now: float) -> None:
        """Give up the present connection ourselves."""
        self.link.actions.append(Drop())
        self._lost(reason, code, now)

    def _lost(
        self, reason: str, code: int | None, now: float, *, delay: float | None = None
    ) -> None:
        link = self.link
        was_open = link.state is LinkState.OPEN
        late = link.backlog > link.format.size(_CATCHING_UP)
        if was_open and late and code in _SERVER_TROUBLE:
            link.pacer.slow_down()
        self._close_sent = False
        self.dictation.lost()
        if self._may_rest(now):
            delay = None
        elif delay is None:
            delay = link.backoff.delay(now)
        link.lost(delay, now)
        if not was_open:
            self._events.append(DialFailed(reason, code, delay))
        elif reason != _NEW_KEYTERMS:
            self._events.append(Disconnected(reason, code, delay))
        logger.info("connection lost: %s", reason)

    def _may_rest(self, now: float) -> bool:
        """Whether nobody is waiting: then the next audio dials."""
        busy = self._finish_deadline is not None or self.dictation.is_owed_words
        return not busy and self._filler.quiet(now) >= _RESTS_AFTER

    def _refuse(self, error: RefusedError) -> None:
        self.refusal = error
        self.dictation.flushes.clear()
        self._over(is_complete=False)

    def _over(self, *, is_complete: bool) -> None:
        """The end: give the last known words, and account for audio that was never sent."""
        self._tell(self.dictation.end_all(is_complete=is_complete))
        self.link.give_up_backlog()
        self._events += self.link.take_gap()
        self.link.close()

    def _count(self, what: str) -> None:
        if what not in self.irregular:
            logger.info("unexpected message: %s", what)
        self.irregular[what] = self.irregular.get(what, 0) + 1
