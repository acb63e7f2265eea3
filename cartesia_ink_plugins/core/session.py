"""A turns session, without IO: audio and messages in, actions and events out.

Here the promises of the package are kept. `Link` moves the audio, `Conversation` makes one run of
turns of it, `SpeechClock` tells when there was speech; the session decides what to replay, when a
silent server is a broken one, and when to give up.

Every method that can change something takes `now`, in seconds on the driver's monotonic clock.
After each call the driver carries out `take_actions()`, hands on `take_events()`, and calls `tick`
at `deadline` at the latest.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cartesia_ink_plugins.core.changes import Changes
from cartesia_ink_plugins.core.conversation import Conversation
from cartesia_ink_plugins.core.errors import ClosedError, RefusedError, is_permanent
from cartesia_ink_plugins.core.events import (
    Connected,
    DialFailed,
    Disconnected,
    ErrorMessage,
    Event,
    Malformed,
    SettingsRejected,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unknown,
    decode,
)
from cartesia_ink_plugins.core.link import Action, Drop, Link, LinkState
from cartesia_ink_plugins.core.listening import Listening
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.pacing import SILENCE, Filler, Jitter
from cartesia_ink_plugins.core.recovery import Recovery

logger = logging.getLogger(__name__)

_CLOSE = '{"type":"close"}'
_BEAT = 0.5
_RESTS_AFTER = 2.0
_CATCHING_UP = 0.3
_NORMAL_CLOSE, _POLICY_CLOSE = 1000, 1008
_SERVER_TROUBLE = (500, 1011)
_NEW_KEYTERMS = "new keyterms"
_NEVER = float("inf")


class TurnsSession:
    """One conversation over `/stt/turns/websocket`, whatever becomes of its connections."""

    def __init__(
        self,
        options: TurnsOptions,
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
        self._changes = Changes(options)
        self.link = Link(options.format, resilience, jitter)
        self.conversation = Conversation()
        self.listening = Listening(options.format, epoch)
        self.recovery = Recovery(self.link, self.conversation, self.listening)
        self.request_id: str | None = None
        self.refusal: RefusedError | None = None
        self._resilience = resilience
        self._events: list[Event] = []
        self._announced = False
        self._filler = Filler(idle=resilience.idle == "silence")
        self._beat_at = _NEVER
        self._finish_deadline: float | None = None
        self._close_sent = False

    # --- what the driver reads ---------------------------------------------------------------

    @property
    def options(self) -> TurnsOptions:
        """What the next connection asks for, with all changes made so far."""
        return self._changes.options

    @property
    def is_closed(self) -> bool:
        """Whether this session is over: no action and no event will come any more."""
        return self.link.state is LinkState.CLOSED

    @property
    def deadline(self) -> float:
        """When `tick` must be called next; infinity when only the driver can say something."""
        if self.is_closed:
            return _NEVER
        deadline = min(self.link.deadline(), self._beat_at)
        return deadline if self._finish_deadline is None else min(deadline, self._finish_deadline)

    def take_actions(self) -> list[Action]:
        """What the driver is to do now, in order."""
        actions, self.link.actions = self.link.actions, []
        return actions

    def take_events(self) -> list[Event]:
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
        if self._finish_deadline is not None or self.is_closed:
            raise ClosedError("send_audio: the session is finished and takes no more audio")
        if not pcm:
            return
        self.link.format.check(len(pcm))
        self._filler.audio(now)
        if self._beat_at == _NEVER:
            self._beat_at = now + _BEAT
        self.listening.hear(pcm, now)
        self.link.take(pcm, now)

    def configure(self, changes: TurnSettings, now: float) -> None:
        """Change thresholds in mid-session, without a new connection.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        self.link.actions += self._changes.configure(changes, now, self.link.state)

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Expect other words from the next turn on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many.
        """
        if self._changes.expect(keyterms):
            connecting = (LinkState.OPEN, LinkState.DIALLING)
            self._changes.wants_redial = self.link.state in connecting
            self._redial_between_turns(now)

    def finish(self, now: float, timeout: float | None = None) -> None:
        """Take no more audio; send what is left, say `close`, and give the last words."""
        if self._finish_deadline is not None or self.is_closed:
            return
        wait = self._resilience.drain_timeout if timeout is None else timeout
        backlog = self.link.format.seconds(self.link.backlog) / self.link.pacer.rate
        self._finish_deadline = now + wait + backlog
        if self.link.state is LinkState.RESTING:
            if not self.link.backlog and not self.conversation.is_open:
                self._over()
                return
            self.link.dial(now)
        self.link.flush(now)
        self._say_close()

    def abort(self) -> None:
        """End at once, without the last words."""
        if not self.is_closed:
            self.link.give_up_backlog()
            self._events += self.link.take_gap()
            self.link.close()

    # --- what the network does ----------------------------------------------------------------

    def opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; audio may flow before `connected` comes."""
        self.request_id = request_id
        self._announced = False
        self.link.actions += self._changes.opened(now)
        self._beat_at = min(self._beat_at, now + _BEAT)
        position = self.recovery.reconnected()
        self.listening.connected(position, now)
        self.link.opened(position, now)
        self._events += self.link.take_gap()
        self._say_close()

    def refused(
        self, status: int, now: float, *, retry_after: float | None = None, message: str = ""
    ) -> None:
        """The upgrade was answered with an HTTP status instead."""
        reason = f"HTTP {status}" + (f": {message}" if message else "")
        if is_permanent(status):
            self._refuse(reason, status)
        elif status in (429, 503):
            delay = self.link.backoff.delay_when_busy(now, retry_after)
            self._lost(reason, status, now, delay=delay)
        else:
            self._lost(reason, status, now)

    def lost(self, reason: str, now: float, code: int | None = None) -> None:
        """The connection closed or broke, or could not be made."""
        if self.is_closed or self.link.state not in (LinkState.OPEN, LinkState.DIALLING):
            return
        heard_all = not self.conversation.is_open and not self.recovery.has_unheard_speech
        if self._close_sent and (code == _NORMAL_CLOSE or heard_all):
            self._over()
        elif code == _POLICY_CLOSE and not self._announced:
            self._refuse(reason, 400)
        else:
            self._lost(reason, code, now)

    def receive(self, data: str | bytes, now: float) -> None:
        """One message came."""
        self.link.heard(now)
        if self.link.state is not LinkState.OPEN:
            return
        message = decode(data)
        match message:
            case TurnStart() | TurnUpdate() | TurnEagerEnd() | TurnResume() | TurnEnd():
                self._announce(message.request_id)
                self._turn_event(message, now)
            case Connected():
                self._announce(message.request_id)
            case ErrorMessage():
                self._error(message, now)
            case Malformed() | Unknown():
                self.conversation.count(message.why)

    def pong(self, now: float) -> None:
        """A ping was answered."""
        self.link.pong(now)

    def tick(self, now: float) -> None:
        """Look at the clock; call it at `deadline`, or any time."""
        if self.is_closed:
            return
        if self._finish_deadline is not None and now >= self._finish_deadline:
            self._over()
            return
        reason = self.link.tick(now)
        if reason:
            self._drop(reason, None, now)
        self._say_close()
        if now >= self._beat_at:
            self._beat(now)

    # --- inside -------------------------------------------------------------------------------

    def _beat(self, now: float) -> None:
        """What has to be looked at every half second, or more often while silence is sent."""
        link, conversation = self.link, self.conversation
        self._beat_at = now + _BEAT
        self._end_carried_turn(now)
        if link.state is not LinkState.OPEN:
            self._beat_at = _NEVER if link.state is LinkState.RESTING else self._beat_at
            return
        timeouts = self._resilience.stall_timeout, self.options.turn.longest_end
        if self.listening.is_stalled(link, conversation, *timeouts, now):
            self.listening.stalled(link.sent, answered=self._announced)
            self._drop("speech, but no turn event", None, now)
            return
        self._events += link.take_gap()
        if self._finish_deadline is None and not link.backlog:
            self._beat_at = min(self._beat_at, self._fill(now))
        self.recovery.settle_between_turns()
        self._redial_between_turns(now)

    def _fill(self, now: float) -> float:
        """Send silence where audio stopped; return when to look again."""
        for _ in range(self._filler.due(now, in_turn=self.conversation.is_open)):
            self.recovery.fill(SILENCE)
        return self._filler.next_at

    def _announce(self, request_id: str | None) -> None:
        if not self._announced:
            self._announced = True
            self._changes.accepted(self.link.opened_at)
            self.request_id = request_id or self.request_id
            self._events.append(Connected(self.request_id))

    def _turn_event(self, event: TurnEvent, now: float) -> None:
        link, conversation, listening = self.link, self.conversation, self.listening
        link.progress()
        if isinstance(event, TurnStart):
            self._end_carried_turn(now)
        was_open = conversation.is_open
        heard = link.heard_by_server(now)
        onset = 0 if was_open else self.recovery.onset(heard)
        timing = listening.timing(event, heard)
        self._events += conversation.receive(event, timing, replaying=self.recovery.is_replaying)
        self.recovery.follow(event, heard, was_open=was_open, onset=onset)
        listening.event(event, conversation, heard, now)
        self._redial_between_turns(now)

    def _end_carried_turn(self, now: float) -> None:
        """End a turn whose connection died, once its own audio shows that it is over."""
        if self.recovery.carried_turn_is_over(now):
            self._events += self._known_end()

    def _known_end(self) -> list[TurnEvent]:
        timing = self.listening.timing(TurnEnd(""), self.link.sent)
        return self.conversation.end_with_known_text(timing)

    def _error(self, message: ErrorMessage, now: float) -> None:
        """The server complains inside the connection; what follows is its end, said or unsaid."""
        reason = f"error {message.status}: {message.title or message.code or 'untitled'}"
        if self._close_sent:
            logger.debug("%s after close", reason)
        elif not is_permanent(message.status):
            self._events.append(message)
            self._drop(reason, message.status, now)
        elif self._changes.revert(now, connected=self._announced):
            self._events.append(SettingsRejected(message))
            self._drop(reason, message.status, now)
        else:
            text = f"{message.title or 'refused'}: {message.message}"
            self.request_id = message.request_id or self.request_id
            self._refuse(text, message.status, message.code)

    def _drop(self, reason: str, code: int | None, now: float) -> None:
        """Give up the present connection ourselves."""
        self.link.actions.append(Drop())
        self._lost(reason, code, now)

    def _lost(
        self, reason: str, code: int | None, now: float, *, delay: float | None = None
    ) -> None:
        link = self.link
        was_open = link.state is LinkState.OPEN
        if was_open:
            if code in _SERVER_TROUBLE and link.backlog > link.format.size(_CATCHING_UP):
                link.pacer.slow_down()
            self.recovery.lost()
        self._close_sent = self._changes.wants_redial = False
        if self._may_rest(now):
            link.lost(None, now)
        else:
            delay = link.backoff.delay(now) if delay is None else delay
            link.lost(delay, now)
        if was_open and reason != _NEW_KEYTERMS:
            self._events.append(Disconnected(reason, code, delay))
        elif not was_open:
            self._events.append(DialFailed(reason, code, delay))
        logger.info("connection lost: %s", reason)

    def _may_rest(self, now: float) -> bool:
        """Whether nobody is waiting: no turn, no audio; then the next audio dials."""
        return (
            self._finish_deadline is None
            and not self.conversation.is_open
            and not self.recovery.has_unheard_speech
            and self.link.backlog == 0
            and self._filler.quiet(now) >= _RESTS_AFTER
        )

    def _refuse(self, text: str, status: int, code: str | None = None) -> None:
        request_id = self.request_id
        self.refusal = RefusedError(text, status=status, code=code, request_id=request_id)
        self._over()

    def _over(self) -> None:
        """The end: give the last known words, and account for audio that was never sent."""
        self._events += self._known_end()
        self.link.give_up_backlog()
        self._events += self.link.take_gap()
        self.link.close()

    def _say_close(self) -> None:
        """Say `close` after the last audio; the server then says all it still knows and closes."""
        link = self.link
        if self._finish_deadline is None or self._close_sent:
            return
        if link.state is LinkState.OPEN and link.ledger.end == link.sent:
            link.actions.append(_CLOSE)
            self._close_sent = True

    def _redial_between_turns(self, now: float) -> None:
        """Take up new keyterms when no turn is open and nobody has begun to speak."""
        link = self.link
        if (
            not self._changes.wants_redial
            or link.state is not LinkState.OPEN
            or self.conversation.is_open
        ):
            return
        if not self.recovery.has_unheard_speech:
            self._drop(_NEW_KEYTERMS, None, now)
