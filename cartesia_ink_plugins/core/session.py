"""A turns session, without IO: audio and messages in, actions and events out.

Here the promises of the package are kept. `Link` moves the audio, `Conversation` makes one run of
turns of it, `Listening` tells when there was speech, `Recovery` where a replay begins, `Lifecycle`
what becomes of connections; the session passes on what comes to those whom it concerns, and
notices when a silent server is a broken one.

Every method that can change something takes `now`, in seconds on the driver's monotonic clock.
After each call, also of `life`, the driver carries out `life.take_actions()`, hands on
`life.take_events()`, and calls `tick` at `deadline` at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from cartesia_ink_plugins.core.changes import Changes
from cartesia_ink_plugins.core.conversation import Conversation
from cartesia_ink_plugins.core.errors import is_permanent
from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
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
from cartesia_ink_plugins.core.lifecycle import Lifecycle
from cartesia_ink_plugins.core.link import Link, LinkState
from cartesia_ink_plugins.core.listening import Listening
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.pacing import Jitter
from cartesia_ink_plugins.core.recovery import Recovery

_CLOSE = '{"type":"close"}'

Said: TypeAlias = TurnEvent | SettingsRejected


class TurnsSession:
    """One conversation over `/stt/turns/websocket`, whatever becomes of its connections.

    Attributes:
        life: How it starts, loses connections and finishes, as on every endpoint.
        link: The audio, and the connection it goes over.
        conversation: The turns.
        listening: What the audio itself says about them.
        recovery: What to replay.
    """

    def __init__(
        self,
        options: TurnsOptions,
        resilience: Resilience,
        *,
        jitter: Jitter,
        epoch: float = 0.0,
    ) -> None:
        """Prepare; nothing happens before `life.start` or the first audio.

        Args:
            options: What each connection asks for.
            resilience: How hard to fight for the caller's words.
            jitter: Returns a number from 0 to 1, to spread redials.
            epoch: Wall-clock time at `now` = 0, in seconds; speech times are given on that clock.
        """
        self._changes = Changes(options)
        self._stall_timeout = resilience.stall_timeout
        self.link = Link(options.format, resilience, jitter)
        self.conversation = Conversation()
        self.listening = Listening(options.format, epoch)
        self.recovery = Recovery(self.link, self.conversation, self.listening)
        self.life: Lifecycle[Said] = Lifecycle(self.link, self.recovery, resilience, _CLOSE)

    @property
    def options(self) -> TurnsOptions:
        """What the next connection asks for, with all changes made so far."""
        return self._changes.options

    @property
    def deadline(self) -> float:
        """When `tick` must be called next; infinity when only the driver can say something."""
        return self.life.deadline

    # --- what the application does ------------------------------------------------------------

    def send_audio(self, pcm: bytes, now: float) -> None:
        """Take audio: whole samples in the format of the options.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The bytes are not whole samples.
        """
        if self.life.admit(pcm, now):
            self.listening.hear(pcm, now)
            self.link.take(pcm, now)

    def configure(self, changes: TurnSettings, now: float) -> None:
        """Change thresholds in mid-session, without a new connection.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        actions = self._changes.configure(changes, now, self.link.state)
        if not self.life.is_finishing:
            self.link.actions += actions

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Expect other words from the next turn on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many.
        """
        if self._changes.expect(keyterms):
            self.life.options_changed(now)

    def set_epoch(self, epoch: float) -> None:
        """Give speech times on another clock from now on: its time at `now` = 0, in seconds."""
        self.listening.epoch = epoch

    # --- what the network does ----------------------------------------------------------------

    def opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; audio may flow before `connected` comes."""
        self.link.actions += self._changes.opened(now)
        self.life.opened(now, request_id)

    def receive(self, data: str | bytes, now: float) -> None:
        """One message came."""
        self.link.heard(now)
        if self.link.state is not LinkState.OPEN:
            return
        match message := decode(data):
            case TurnStart() | TurnUpdate() | TurnEagerEnd() | TurnResume() | TurnEnd():
                self._accepted(message.request_id)
                self._turn_event(message, now)
            case Connected():
                self._accepted(message.request_id)
            case ErrorMessage():
                self._error(message, now)
            case Malformed() | Unknown():
                self.conversation.count(message.why)
            case _:
                self.conversation.count(f"{message.type} on this endpoint")

    # --- what the clock does ------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the clock; call it at `deadline`, or any time."""
        if self.life.tick(now):
            self._beat(now)

    def _beat(self, now: float) -> None:
        """What has to be looked at every half second, or more often while silence is sent."""
        link, conversation, listening = self.link, self.conversation, self.listening
        self._end_carried_turn(now)
        if link.state is not LinkState.OPEN:
            return
        timeouts = self._stall_timeout, self.options.turn.longest_end
        if listening.is_stalled(link, conversation, *timeouts, now):
            listening.stalled(link.sent, answered=self.life.is_accepted)
            self.life.drop("speech, but no turn event", now)
            return
        if self.life.fill(now, in_turn=conversation.is_open):
            listening.hush(link.sent)
        self.recovery.settle_between_turns()
        self.life.renew(now)

    # --- what the server says -----------------------------------------------------------------

    def _accepted(self, request_id: str | None) -> None:
        life = self.life
        if not life.is_accepted:
            life.is_accepted = True
            self._changes.accepted(self.link.opened_at)
            life.request_id = request_id or life.request_id
            life.events.append(Connected(life.request_id))

    def _turn_event(self, event: TurnEvent, now: float) -> None:
        link, conversation, listening = self.link, self.conversation, self.listening
        link.progress()
        if isinstance(event, TurnStart):
            self._end_carried_turn(now)
        was_open = conversation.is_open
        heard = link.heard_by_server(now)
        onset = 0 if was_open else self.recovery.onset(heard, now)
        timing = listening.timing(event, heard)
        replaying = self.recovery.is_replaying
        self.life.events += conversation.receive(event, timing, replaying=replaying)
        self.recovery.follow(event, heard, now, was_open=was_open, onset=onset)
        listening.event(event, conversation, heard, now, replaying=replaying)
        self.life.renew(now)

    def _end_carried_turn(self, now: float) -> None:
        """End a turn whose connection died, once its own audio shows that it is over."""
        if self.recovery.carried_turn_is_over(now):
            self.life.events += self.recovery.last(self.life.request_id, is_complete=True)

    def _error(self, message: ErrorMessage, now: float) -> None:
        """The server complains; perhaps only about the latest change of settings."""
        accepted = self.life.is_accepted
        undone = is_permanent(message.status) and self._changes.revert(now, connected=accepted)
        self.life.error(message, now, SettingsRejected(message) if undone else None)
