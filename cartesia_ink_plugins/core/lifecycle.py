"""The life of a session: connections come and go, the server refuses, the application finishes.

What is the same for every streaming endpoint stands here: when to dial again and when to rest, what
is a refusal, when `close` is said, and how long the last words are waited for. What the words are,
and whether some are still to come, is known to the `Words` of the endpoint.

No IO: `now` is an argument, as for the sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cartesia_ink_plugins.core.errors import ClosedError, RefusedError, is_permanent
from cartesia_ink_plugins.core.events import DialFailed, Disconnected, ErrorMessage, LifeEvent
from cartesia_ink_plugins.core.link import Action, Drop, Link, LinkState
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.pacing import LONGEST_TOLD, MOST_REPLAYS, SILENCE, Filler

logger = logging.getLogger(__name__)

_BEAT = 0.5
_EARLY = 0.06
_LATE = 0.1
_RESTS_AFTER = 2.0
_CATCHING_UP = 0.3
_NORMAL_CLOSE, _POLICY_CLOSE = 1000, 1008
_SERVER_TROUBLE = (500, 1011)
_NEW_OPTIONS = "new options"
_NEVER = float("inf")

W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Unrecognized:
    """What a session would go on from on its next connection.

    Attributes:
        text: What is known of the open turn or segment, up to where `audio` begins.
        audio: All that was handed in since then, as it was handed in.
    """

    text: str
    audio: bytes


class Words(Protocol[W_co]):
    """What a session is about, as far as its life depends on it."""

    @property
    def is_owed(self) -> bool:
        """Whether the server has still to say something about audio that was handed in."""

    @property
    def resume_at(self) -> int:
        """The stream position from which the next connection is sent audio."""

    @property
    def text_before_resume(self) -> str:
        """The text of the open turn or segment that `resume_at` comes after."""

    def reconnected(self, now: float) -> int:
        """There is a connection, the first or another one; return `resume_at`, as it is now."""

    def lost(self) -> None:
        """An open connection is gone."""

    def speak(self, now: float) -> None:
        """Say what has to be said at the place in the audio that is reached."""

    def forget(self) -> None:
        """Expect no answer any more to what was asked."""

    def last(self, request_id: str | None, *, is_complete: bool) -> Sequence[W_co]:
        """The words known so far, because nothing more will be said."""


class Lifecycle(Generic[W]):
    """What becomes of one session and of its connections."""

    def __init__(self, link: Link, words: Words[W], resilience: Resilience, close: str) -> None:
        """Prepare; nothing happens before `start` or the first audio.

        Args:
            link: Moves the audio.
            words: What it is all about.
            resilience: How hard to fight for them.
            close: What asks the server to say the last words and close.
        """
        self.events: list[LifeEvent | W] = []
        self.request_id: str | None = None
        self.refusal: RefusedError | None = None
        self.is_accepted = False
        """Whether the server has shown that it accepts the settings of this connection."""
        self._link = link
        self._words = words
        self._close = close
        self._drain_timeout = resilience.drain_timeout
        self._filler = Filler(idle=resilience.idle == "silence")
        self._beat_at = _NEVER
        self._finish_at = _NEVER
        self._finish_wait: float | None = None
        self._finish_replays = 0
        self._close_sent = self._wants_renewal = False
        self._late_beats = 0

    @property
    def is_closed(self) -> bool:
        """Whether the session is over: no action and no event will come any more."""
        return self._link.state is LinkState.CLOSED

    @property
    def is_finishing(self) -> bool:
        """Whether the application has said that there is no more audio."""
        return self._finish_wait is not None

    @property
    def is_close_sent(self) -> bool:
        """Whether this connection was asked to say the last words and close."""
        return self._close_sent

    @property
    def deadline(self) -> float:
        """When `tick` must be called next; infinity when only the driver can say something."""
        return min(self._link.deadline(), self._beat_at, self._finish_at)

    @property
    def backlog_seconds(self) -> float:
        """How long it takes to send what the present connection, or the next, was not sent yet."""
        link = self._link
        sent = link.sent if link.state is LinkState.OPEN else self._words.resume_at
        size = link.ledger.end - max(sent, link.ledger.start)
        return link.format.seconds(size) / link.pacer.rate

    def unrecognized(self) -> Unrecognized:
        """What was handed in and has no final text yet, while there is no connection."""
        link, position = self._link, self._words.resume_at
        audio = link.ledger.read(position, link.ledger.end - position)
        return Unrecognized(self._words.text_before_resume, audio)

    def take_actions(self) -> list[Action]:
        """What the driver is to do now, in order."""
        actions, self._link.actions = self._link.actions, []
        return actions

    def take_events(self) -> list[LifeEvent | W]:
        """What the application is to see now, in order."""
        events, self.events = self.events, []
        return events

    # --- what the application does ------------------------------------------------------------

    def start(self, now: float) -> None:
        """Dial at once, so that the first words do not wait for a handshake."""
        self._filler.audio(now)
        # Calls that begin in one instant are not all to be looked after in one.
        self._beat_at = now + _BEAT * self._link.jitter()
        self._link.dial(now)

    def admit(self, pcm: bytes, now: float) -> bool:
        """Check audio before it is taken in; tell whether there is any.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The bytes are not whole samples.
        """
        self.check_open("send_audio")
        if not pcm:
            return False
        audio = self._link.format
        audio.check(len(pcm))
        self._filler.audio(now, audio.seconds(len(pcm)))
        if self._beat_at == _NEVER:
            self._beat_at = now + _BEAT
        return True

    def check_open(self, method: str) -> None:
        """Refuse a call that comes too late.

        Raises:
            ClosedError: The session was finished or is over.
        """
        if self._finish_wait is not None or self._link.state is LinkState.CLOSED:
            raise ClosedError(f"{method}: the session is finished and takes no more audio")

    def options_changed(self, now: float) -> None:
        """The options have changed in a way that only a new connection can tell."""
        self._wants_renewal = self._link.state in (LinkState.OPEN, LinkState.DIALLING)
        self.renew(now)

    def finish(self, now: float, timeout: float | None = None) -> None:
        """Take no more audio; send what is left, say `close`, and give the last words."""
        if self.is_finishing or self.is_closed:
            return
        self._finish_wait = self._drain_timeout if timeout is None else timeout
        self._finish_at = now + self._finish_wait + self.backlog_seconds
        if self._link.state is LinkState.RESTING:
            if not self._words.is_owed:
                self._over(is_complete=True)
                return
            self._link.dial(now)
        self._link.flush(now)
        self.speak(now)

    def finish_within(self, now: float, seconds: float) -> None:
        """The last words have been said: if we finish, wait no longer than this for the close."""
        self._finish_at = min(self._finish_at, now + seconds)

    def abort(self) -> None:
        """End at once, without the last words."""
        if not self.is_closed:
            self._words.forget()
            self._give_up_audio()

    # --- what the network does ----------------------------------------------------------------

    def opened(self, now: float, request_id: str | None) -> None:
        """The upgrade succeeded."""
        self.request_id = request_id
        self.is_accepted = False
        self._beat_at = min(self._beat_at, now + _BEAT)
        self._link.opened(self._words.reconnected(now), now)
        self.events += self._link.take_gap()
        if self._finish_wait is not None and self._finish_replays < MOST_REPLAYS:
            self._finish_replays += 1
            replayed = now + self._finish_wait + self.backlog_seconds
            self._finish_at = max(self._finish_at, replayed)
        self.speak(now)

    def refused(
        self,
        status: int,
        now: float,
        *,
        retry_after: float | None = None,
        message: str = "",
        request_id: str | None = None,
    ) -> None:
        """The upgrade was answered with an HTTP status instead.

        Args:
            status: Of the answer.
            now: The time.
            retry_after: Seconds that the server asks us to wait.
            message: What it says of the reason.
            request_id: Of the request that it refuses.
        """
        self.request_id = request_id or self.request_id
        reason = f"HTTP {status}" + (f": {message}" if message else "")
        if is_permanent(status):
            self._refuse(reason, status)
        elif status in (429, 503):
            delay = self._link.backoff.delay_when_busy(now, retry_after)
            if retry_after is not None and retry_after > LONGEST_TOLD:
                reason += f" (asks to wait {retry_after:.0f} s; is asked again in {delay:.0f} s)"
            self._lost(reason, status, now, delay=delay)
        else:
            self._lost(reason, status, now)

    def lost(self, reason: str, now: float, code: int | None = None) -> None:
        """The connection closed or broke, or could not be made."""
        if self._link.state not in (LinkState.OPEN, LinkState.DIALLING):
            return
        if self._close_sent and (code == _NORMAL_CLOSE or not self._words.is_owed):
            self._over(is_complete=True)
        elif code == _POLICY_CLOSE and not self.is_accepted:
            self._refuse(reason, 400)
        else:
            self._lost(reason, code, now)

    def error(self, message: ErrorMessage, now: float, mended: W | None = None) -> None:
        """The server complains inside the connection; what follows is its end, said or unsaid.

        Args:
            message: What it says.
            now: The time.
            mended: What the application is told instead, if its cause is out of the world.
        """
        reason = f"error {message.status}: {message.title or message.code or 'untitled'}"
        if self._close_sent and not self._words.is_owed:
            logger.debug("%s after close", reason)
        elif mended is not None or not is_permanent(message.status):
            self.events.append(message if mended is None else mended)
            self.drop(reason, now, message.status)
        else:
            self.request_id = message.request_id or self.request_id
            text = f"{message.title or 'refused'}: {message.message}"
            self._refuse(text, message.status, message.code)

    def drop(
        self, reason: str, now: float, code: int | None = None, *, timed_out: bool = False
    ) -> None:
        """Give up the present connection, or the attempt at one, ourselves."""
        self._link.actions.append(Drop())
        self._lost(reason, code, now, timed_out=timed_out)

    # --- what the clock does ------------------------------------------------------------------

    def is_beat_near(self, now: float) -> bool:
        """Whether a tick would do what is else to be done within some hundredths of a second.

        Who has just been woken by audio saves itself being woken again for that.
        """
        return now >= self._beat_at - _EARLY

    def tick(self, now: float) -> bool:
        """Look at the clock; call it at `deadline`, or any time.

        Returns:
            Whether it is time for what a session looks at every half second.
        """
        if self.is_closed:
            return False
        if now >= self._finish_at:
            self._over(is_complete=False)
            return False
        timed_out = self._link.state is LinkState.DIALLING
        if reason := self._link.tick(now):
            self.drop(reason, now, timed_out=timed_out)
        self.speak(now)
        if not self.is_beat_near(now):
            return False
        self._late_beats = self._late_beats + 1 if now - self._beat_at > _LATE else 0
        self._beat_at = _NEVER if self._link.state is LinkState.RESTING else now + _BEAT
        return True

    def fill(self, now: float, *, in_turn: bool) -> bool:
        """Send silence on an open connection where audio stopped; tell whether any was due."""
        self.events += self._link.take_gap()
        # Who was held up once has audio that waits to be handed in; who is always late has none.
        if self.is_finishing or self._late_beats == 1 or self._link.backlog:
            return False
        count = self._filler.due(now, in_turn=in_turn)
        for _ in range(count):
            self._link.send_silence(SILENCE)
        self._beat_at = min(self._beat_at, self._filler.next_at)
        return count > 0

    def renew(self, now: float) -> None:
        """Take up new options over a new connection, if it is time: no words are to come."""
        if not self._wants_renewal or self.is_finishing:
            return
        if self._link.state is LinkState.OPEN and not self._words.is_owed:
            self.drop(_NEW_OPTIONS, now)

    def speak(self, now: float) -> None:
        """Say what belongs behind the audio that was sent: after the last of it, `close`."""
        self._words.speak(now)
        link = self._link
        if self._finish_wait is None or self._close_sent or link.state is not LinkState.OPEN:
            return
        if link.sent == link.ledger.end:
            link.actions.append(self._close)
            self._close_sent = True

    # --- inside -------------------------------------------------------------------------------

    def _lost(
        self,
        reason: str,
        code: int | None,
        now: float,
        *,
        delay: float | None = None,
        timed_out: bool = False,
    ) -> None:
        link = self._link
        was_open = link.state is LinkState.OPEN
        if was_open:
            if code in _SERVER_TROUBLE and link.backlog > link.format.size(_CATCHING_UP):
                link.pacer.slow_down()
            self._words.lost()
        self._close_sent = self._wants_renewal = False
        if self._may_rest(now):
            delay = None
        elif delay is None:
            delay = link.backoff.delay(now)
        link.lost(delay, now)
        if not was_open:
            self.events.append(DialFailed(reason, code, delay, timed_out))
        elif reason != _NEW_OPTIONS:
            self.events.append(Disconnected(reason, code, delay))
        logger.info("connection lost: %s", reason)

    def _may_rest(self, now: float) -> bool:
        """Whether nobody is waiting: then the next audio dials."""
        quiet = self._filler.quiet(now) >= _RESTS_AFTER
        return quiet and not self.is_finishing and not self._words.is_owed

    def _refuse(self, text: str, status: int, code: str | None = None) -> None:
        request_id = self.request_id
        self.refusal = RefusedError(text, status=status, code=code, request_id=request_id)
        self._words.forget()
        self._over(is_complete=False)

    def _over(self, *, is_complete: bool) -> None:
        """The end: give the last known words, and account for audio that was never sent."""
        self.events += self._words.last(self.request_id, is_complete=is_complete)
        self._give_up_audio()

    def _give_up_audio(self) -> None:
        self._link.give_up_backlog()
        self.events += self._link.take_gap()
        self._link.close()
        self._beat_at = self._finish_at = _NEVER
