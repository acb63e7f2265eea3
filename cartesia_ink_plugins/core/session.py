"""A turns session, without IO: audio and messages in, actions and events out.

Here the promises of the package are kept. `Link` moves the audio, `Conversation` makes one run of
turns of it, `SpeechClock` tells when there was speech; the session decides what to replay, when a
silent server is a broken one, and when to give up.

Every method that can change something takes `now`, in seconds on the driver's monotonic clock.
After each call the driver carries out `take_actions()`, hands on `take_events()`, and calls `tick`
at `deadline` at the latest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.conversation import Conversation
from cartesia_ink_plugins.core.errors import ClosedError, RefusedError, is_permanent
from cartesia_ink_plugins.core.events import (
    AudioGap,
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
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions, check_keyterms
from cartesia_ink_plugins.core.pacing import Jitter

logger = logging.getLogger(__name__)

_CLOSE = '{"type":"close"}'
_BEAT = 0.5
_SILENCE_AFTER = 0.6
_SILENCE_CHUNK = 0.1
_IDLE_SILENCE_EVERY = 60.0
_CONFIG_ANSWER_WITHIN = 5.0
_HEARS_NOTHING_AFTER = 3.0
_REPLAY_LATENCY = 2.0
_RESTS_AFTER = 2.0
_CATCHING_UP = 0.3
_LONGEST_TURN_END = 11.2
_NORMAL_CLOSE, _POLICY_CLOSE = 1000, 1008
_SERVER_TROUBLE = (500, 1011)
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
            options: What each connection asks for; `configure` and `update_keyterms` change it.
            resilience: How hard to fight for the caller's words.
            jitter: Returns a number from 0 to 1, to spread redials.
            epoch: Wall-clock time at `now` = 0, in seconds; speech times are given on that clock.
        """
        self.options = options
        self.link = Link(options.format, resilience, jitter)
        self.conversation = Conversation()
        self.listening = Listening(options.format, epoch)
        self.request_id: str | None = None
        self.refusal: RefusedError | None = None
        self.malformed: dict[str, int] = {}
        self._resilience = resilience
        self._events: list[Event] = []
        self._announced = False
        self._floor = 0
        self._resume_at = 0
        self._lost_at = 0
        self._audio_at = _NEVER
        self._silent_until: float | None = None
        self._beat_at = _NEVER
        self._finish_deadline: float | None = None
        self._close_sent = False
        self._config: tuple[TurnSettings, float] | None = None
        self._wants_redial = False

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
        self._audio_at = min(self._audio_at, now)
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
        self._audio_at = now
        self._silent_until = None
        if self._beat_at == _NEVER:
            self._beat_at = now + _BEAT
        self.listening.hear(pcm, now)
        self.link.take(pcm, now)

    def configure(self, changes: TurnSettings, now: float) -> None:
        """Change thresholds in mid-session, without a new connection.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        before = self.options.turn
        self.options = replace(self.options, turn=before.updated(changes))
        config = changes.config()
        if config and self.link.state is LinkState.OPEN:
            self._config = (before, now)
            self.link.actions.append(json.dumps({"type": "config", "turn": config}))

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Expect other words from the next turn on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many.
        """
        terms = check_keyterms(keyterms)
        if terms == tuple(self.options.keyterms):
            return
        self.options = replace(self.options, keyterms=terms)
        self._wants_redial = self.link.state in (LinkState.OPEN, LinkState.DIALLING)
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
        self._say_close()

    def abort(self) -> None:
        """End at once, without the last words."""
        if not self.is_closed:
            self.link.give_up_backlog()
            self._tell_gap()
            self.link.close()

    # --- what the network does ----------------------------------------------------------------

    def opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; audio may flow before `connected` comes."""
        self.request_id = request_id
        self._announced = False
        self._config = None
        self._beat_at = min(self._beat_at, now + _BEAT)
        held = self.link.ledger.start
        if self.conversation.is_open and held > self._resume_at:
            # The turn was longer than the ledger: go on from the words that are known.
            self.conversation.reconnected(keep_known=True, overlaps=held < self._lost_at)
        self.listening.connected(max(self._resume_at, held), now)
        self.link.opened(self._resume_at, now)
        self._tell_gap()
        self._say_close()

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
        if self._close_sent and (code == _NORMAL_CLOSE or self._has_all_words()):
            self._over()
        elif code == _POLICY_CLOSE and not self._announced:
            self._refuse(RefusedError(f"closed with 1008: {reason}", status=400))
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
            case Malformed():
                self._count_malformed(message.why)
            case Unknown():
                self._count_malformed("unknown type")

    def pong(self, now: float) -> None:
        """A ping was answered."""
        self.link.heard(now)

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
        if link.state is LinkState.RESTING and not conversation.is_open:
            self._beat_at = _NEVER
        if link.state is not LinkState.OPEN:
            return
        if self._is_stalled(now):
            self.listening.stalled(link.sent)
            self._drop("speech, but no turn event", None, now)
            return
        if self._finish_deadline is None:
            self._keep_continuous(now)
        if not conversation.is_open:
            checkpoint = self.listening.idle_checkpoint(link.sent, self._floor)
            link.ledger.settle(self.listening.keep_from(checkpoint, link.sent))
        self._redial_between_turns(now)

    def _is_stalled(self, now: float) -> bool:
        end_timeout = (self.options.turn.turn_end_timeout_ms or 1000 * _LONGEST_TURN_END) / 1000
        return self.listening.is_stalled(
            self.link, self.conversation, self._resilience.stall_timeout, end_timeout, now
        )

    def _keep_continuous(self, now: float) -> None:
        """Send silence where audio stopped, so that a turn can end (and an idle call stay open)."""
        if self.link.backlog or now - self._audio_at < _SILENCE_AFTER:
            return
        if self.conversation.is_open:
            since = self._silent_until or max(self._audio_at + _SILENCE_AFTER, now - _SILENCE_CHUNK)
            while since + _SILENCE_CHUNK <= now + 1e-6:
                self.link.send_silence(_SILENCE_CHUNK)
                since += _SILENCE_CHUNK
            self._silent_until = since
            self._beat_at = since + _SILENCE_CHUNK
        elif self._resilience.idle == "silence":
            since = self._silent_until or self._audio_at
            if now - since >= _IDLE_SILENCE_EVERY:
                self.link.send_silence(_SILENCE_CHUNK)
                self._silent_until = now
        else:
            self._silent_until = None

    def _announce(self, request_id: str | None) -> None:
        if not self._announced:
            self._announced = True
            self.request_id = request_id or self.request_id
            self._events.append(Connected(self.request_id))

    def _turn_event(self, event: TurnEvent, now: float) -> None:
        link, conversation = self.link, self.conversation
        link.progress()
        if isinstance(event, TurnStart):
            self._end_carried_turn(now)
        was_open = conversation.is_open
        replaying = link.sent < self._lost_at + link.format.size(_REPLAY_LATENCY)
        turn_checkpoint = 0
        if not was_open:
            turn_checkpoint = self.listening.turn_checkpoint(link.sent, self._floor)
        timing = self.listening.timing(event, link.sent)
        self._events += conversation.receive(event, timing, replaying=replaying)
        if conversation.is_open and not was_open:
            conversation.add_checkpoint(turn_checkpoint)
        self._move_checkpoint(event)
        self.listening.event(event, conversation, link.sent, now)
        if was_open and not conversation.is_open:
            self._floor = self.listening.end_checkpoint(link.sent, self._floor)
            link.ledger.settle(self._floor)
        self._redial_between_turns(now)

    def _move_checkpoint(self, event: TurnEvent) -> None:
        """Follow the turn: its text is safe up to the pause at an eager end."""
        checkpoint = self.conversation.checkpoint
        if checkpoint is None:
            return
        if isinstance(event, TurnEagerEnd):
            pause = self.listening.pause(self.link.sent)
            if pause is not None and pause > checkpoint.position:
                self.conversation.add_checkpoint(pause)
                # The one before stays: an eager end that came late may yet turn out to be wrong.
                self.link.ledger.settle(checkpoint.position)
        elif isinstance(event, TurnResume) and not self.listening.spoke(
            checkpoint.position, self.link.sent
        ):
            # A pause after which nobody spoke is not the pause the server meant.
            self.conversation.revoke_checkpoint()

    def _end_carried_turn(self, now: float) -> None:
        """End a turn whose connection died, once its own audio shows that it is over."""
        conversation, link, checkpoint = self.conversation, self.link, self.conversation.checkpoint
        if not conversation.is_carried or checkpoint is None:
            return
        online = link.state is LinkState.OPEN
        heard = link.sent if online else link.ledger.end
        if checkpoint.text and checkpoint.text == conversation.text:
            silence = self.listening.silence_after(checkpoint.position, heard)
            over, floor = silence >= self.listening.end_silence, checkpoint.position
        else:
            # Every word was sent again, and then some silence, and two connections heard nothing.
            since = max(self._lost_at, heard - link.format.size(_HEARS_NOTHING_AFTER))
            over = (
                online
                and heard >= self._lost_at + link.format.size(_HEARS_NOTHING_AFTER)
                and now - link.opened_at >= _HEARS_NOTHING_AFTER
                and not self.listening.spoke(since, heard)
                and self.listening.has_doubts
            )
            floor = since
        if over:
            timing = self.listening.timing(TurnEnd(""), heard)
            self._events += conversation.end_with_known_text(timing)
            self._floor = max(self._floor, floor)

    def _error(self, message: ErrorMessage, now: float) -> None:
        """The server complains inside the connection; what follows is its end, said or unsaid."""
        reason = f"error {message.status}: {message.title or message.code or 'untitled'}"
        config, self._config = self._config, None
        if self._close_sent:
            logger.debug("%s after close", reason)
        elif not is_permanent(message.status):
            self._events.append(message)
            self._drop(reason, message.status, now)
        elif config is not None and now - config[1] <= _CONFIG_ANSWER_WITHIN:
            self.options = replace(self.options, turn=config[0])
            self._events.append(SettingsRejected(message))
            self._drop(reason, message.status, now)
        else:
            text = f"{message.title or 'refused'}: {message.message}"
            self._refuse(
                RefusedError(
                    text,
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
        link, conversation = self.link, self.conversation
        was_open = link.state is LinkState.OPEN
        if was_open:
            self._lost_at = max(self._lost_at, link.sent)
            if code in _SERVER_TROUBLE and link.backlog > link.format.size(_CATCHING_UP):
                link.pacer.slow_down()
            self._resume_at = self._replay_from()
            conversation.reconnected()
        self._close_sent = False
        if self._may_rest(now):
            link.lost(None, now)
        else:
            delay = link.backoff.delay(now) if delay is None else delay
            link.lost(delay, now)
        if was_open:
            self._events.append(Disconnected(reason, code, delay))
        else:
            self._events.append(DialFailed(reason, code, delay))
        logger.info("connection lost: %s", reason)

    def _replay_from(self) -> int:
        conversation, sent = self.conversation, self.link.sent
        checkpoint = conversation.checkpoint
        if checkpoint is None:
            return self.listening.idle_checkpoint(sent, self._floor)
        before = conversation.checkpoints[-2:][0].position
        if not self.listening.knows_end_silence and before >= self.link.ledger.start:
            # Nobody knows yet how much silence ends a turn: let the server hear the words before
            # the pause again, and decide.
            conversation.revoke_checkpoint()
        return conversation.checkpoints[-1].position

    def _may_rest(self, now: float) -> bool:
        """Whether nobody is waiting: no turn, no audio; then the next audio dials."""
        return (
            self._finish_deadline is None
            and not self.conversation.is_open
            and self.link.backlog == 0
            and now - self._audio_at >= _RESTS_AFTER
        )

    def _has_all_words(self) -> bool:
        """Whether the server has nothing more to say about the audio it was sent."""
        sent = self.link.sent
        return not self.conversation.is_open and not self.listening.spoke(self._floor, sent)

    def _refuse(self, error: RefusedError) -> None:
        self.refusal = error
        self._over()

    def _over(self) -> None:
        """The end: give the last known words, and account for audio that was never sent."""
        timing = self.listening.timing(TurnEnd(""), self.link.sent)
        self._events += self.conversation.end_with_known_text(timing)
        self.link.give_up_backlog()
        self._tell_gap()
        self.link.close()

    def _say_close(self) -> None:
        """Say `close` after the last audio; the server then says all it still knows and closes."""
        link = self.link
        if self._finish_deadline is None or self._close_sent:
            return
        if link.state is LinkState.OPEN and link.ledger.end == link.sent:
            link.actions.append(_CLOSE)
            self._close_sent = True

    def _tell_gap(self) -> None:
        gap = self.link.take_gap()
        if gap is not None:
            seconds = self.link.format.seconds
            self._events.append(AudioGap(seconds=seconds(gap[1]), position=seconds(gap[0])))

    def _redial_between_turns(self, now: float) -> None:
        """Take up new keyterms when no turn is open and nobody has begun to speak."""
        link = self.link
        if not self._wants_redial or link.state is not LinkState.OPEN or self.conversation.is_open:
            return
        if not self.listening.spoke(
            self.listening.idle_checkpoint(link.sent, self._floor), link.sent
        ):
            self._wants_redial = False
            self._drop("new keyterms", None, now)

    def _count_malformed(self, why: str) -> None:
        if why not in self.malformed:
            logger.info("unexpected message: %s", why)
        self.malformed[why] = self.malformed.get(why, 0) + 1
