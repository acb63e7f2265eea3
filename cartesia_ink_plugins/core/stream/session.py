"""What the sessions of both streaming endpoints share: one sans-IO object, three outputs.

    in    start, audio_received, finish, abort                      the application
          connection_opened, _rejected, _lost, message_received,
          pong_received, writable                                   the network
          timeout                                                   the clock
    out   actions         for the driver, in order
          events          for the application, in order
          next_timeout    when `timeout` must be called

This class decides when to connect, what is a rejection, when `close` is sent, and how long the last
transcripts are waited for. What the transcripts are, and whether some are still to come, is for the
endpoint: see `Endpoint`.

Every input takes `now`, in seconds on a monotonic clock of the driver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeVar

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import RejectedError, is_permanent
from cartesia_ink_plugins.core.events import ConnectFailed, Disconnected, ErrorMessage
from cartesia_ink_plugins.core.log import one_line
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stream.analysis import AnalysisQueue
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.drain import DrainState
from cartesia_ink_plugins.core.stream.endpoint import Append, Endpoint
from cartesia_ink_plugins.core.stream.housekeeping import Housekeeping
from cartesia_ink_plugins.core.stream.keepalive import SILENCE, KeepaliveSilence
from cartesia_ink_plugins.core.stream.reconnect import MAX_RETRY_AFTER, Jitter
from cartesia_ink_plugins.core.tap import MomentKind, Tap
from cartesia_ink_plugins.core.wire import decode

# Seconds.
_IDLE_AFTER = 2.0  # without audio, a lost connection is not replaced before there is some
_BACKLOG = 0.3  # of unsent audio, above which a server error is taken for overload
_NEVER = float("inf")

_NORMAL_CLOSE = 1000  # WebSocket close code
_OVERLOAD, _BUSY = (500, 1011), (429, 503)  # statuses, and a close code
_NEW_OPTIONS = "new options"

T = TypeVar("T")


class StreamSession(Endpoint[T]):
    """One audio stream over as many connections as it takes.

    Attributes:
        actions: What the driver has to do, in order; it empties the queue.
        events: What the application receives, in order; the driver empties the queue.
        rejection: Why the server rejects this session permanently, once it does.
    """

    def __init__(
        self,
        format: AudioFormat,
        resilience: Resilience,
        *,
        jitter: Jitter,
        session_id: str,
        taps: Iterable[Tap] = (),
        append: Append[T] = deque.append,
    ) -> None:
        """Prepare; nothing happens before `start` or the first audio.

        Args:
            format: Of the audio.
            resilience: How the session recovers.
            jitter: Returns a number from 0 to 1, so that many sessions do nothing in one instant.
            session_id: Begins every log line.
            taps: Observers.
            append: Puts an event into the queue; may merge it with unread ones.
        """
        super().__init__(format, resilience, jitter, session_id, taps, append)
        self.actions = self.outbox.actions
        self.events = self.outbox.events
        self.rejection: RejectedError | None = None
        self._jitter = jitter
        self._keepalive = KeepaliveSilence(idle=resilience.idle == "silence")
        self._audio_at, self._stopped_at = _NEVER, -_NEVER
        self._frame_size = 0
        self._analysis = AnalysisQueue(self._audio_analysed, format, self.taps)
        self._housekeeping = Housekeeping()
        self._reconnect_pending = False

    @property
    def next_timeout(self) -> float:
        """When `timeout` must be called next; infinity when only an input can change anything."""
        connection, sender = self.connection.next_at, self.sender.next_at
        return min(self._housekeeping.at, self.drain.deadline, connection, sender)

    # --- inputs of the application ------------------------------------------------------------

    def start(self, now: float) -> None:
        """Connect at once, so that the first words do not wait for a handshake."""
        self._audio_at = now
        self._housekeeping.start(now, self._jitter())
        self.connection.connect(now)

    def audio_received(self, pcm: bytes, now: float) -> None:
        """Take audio: whole samples in the format of the options.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The bytes are not whole samples.
        """
        connection, sender = self.connection, self.sender
        size = len(pcm)
        is_streaming = self.drain.state is DrainState.STREAMING
        if not is_streaming or connection.state is ConnectionState.CLOSED:
            self.require_open("send_audio")
        if not size:
            return
        if size % sender.format.sample_width:
            sender.format.validate(size)
        if now >= self._analysis.due_at:
            self._analysis.add_due(pcm, now, self._audio_at)
        else:
            self._analysis.collect(pcm)
        self._audio_at, self._frame_size = now, size
        sender.audio_received(pcm)
        if connection.state is ConnectionState.OPEN:
            sender.pump(now)
        elif connection.state is ConnectionState.IDLE:
            connection.connect(now)
        if now >= self._housekeeping.early:
            self.timeout(now)
        elif self._housekeeping.at == _NEVER:
            self._housekeeping.start(now)

    def audio_stopped(self, now: float) -> None:
        """No audio follows for now, as from a muted microphone: a turn can end in silence."""
        self.require_open("audio_stopped")
        self._stopped_at = now
        self._housekeeping.do_by(now)
        self.timeout(now)

    def finish(self, now: float, timeout: float | None = None) -> None:
        """Take no more audio; send what is left, then `close`, and wait for the last transcripts.

        Args:
            now: The time.
            timeout: Seconds from now after which the session ends in any case; by default the
                `drain_timeout`. What was not sent by then is an `AudioGap`.
        """
        if self.is_finishing or self.is_closed:
            return
        self.analyse()
        self.drain.begin(now, timeout)
        if self.connection.state is ConnectionState.IDLE:
            if not self.has_pending_transcript:
                self._end(now, is_complete=True)
                return
            self.connection.connect(now)
        if self.connection.state is ConnectionState.OPEN:
            self.sender.pump(now, flush=True)
        self._send_commands(now)

    def abort(self, now: float) -> None:
        """End at once, without the last transcripts."""
        if not self.is_closed:
            self.analyse()
            self._forget_commands()
            self._close(now)

    # --- inputs of the network ----------------------------------------------------------------

    def connection_opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; audio may be sent before `connected` arrives."""
        self.analyse()
        self.connection.opened(now, request_id)
        self._housekeeping.start(now)
        hold_back = self.repeated_loss.hold_back
        self.sender.connection_opened(self._begin_replay(now), now, hold_back)
        self.emit_gap(now)
        self._send_commands(now)

    def connection_rejected(
        self,
        status: int,
        now: float,
        *,
        retry_after: float | None = None,
        message: str = "",
        request_id: str | None = None,
        is_api_error: bool = False,
    ) -> None:
        """The upgrade was answered with an HTTP status instead.

        Args:
            status: Of the answer.
            now: The time.
            retry_after: Seconds of its Retry-After header.
            message: Its explanation.
            request_id: Of the rejected request.
            is_api_error: Whether it is an error in the shape of the API.
        """
        if self.connection.state is not ConnectionState.CONNECTING:
            return
        self.connection.request_id = request_id or self.connection.request_id
        reason = f"HTTP {status}" + (f": {message}" if message else "")
        if self.connection.rejections.is_final(status, now, is_api_error=is_api_error):
            self._reject(reason, status, now)
            return
        delay = self.connection.busy_delay(now, retry_after) if status in _BUSY else None
        if delay is not None and retry_after is not None and retry_after > MAX_RETRY_AFTER:
            reason += f" (Retry-After is {retry_after:.0f} s; retrying in {delay:.0f} s)"
        self._replace_connection(reason, status, now, delay=delay)

    def connection_lost(self, reason: str, now: float, code: int | None = None) -> None:
        """The connection closed or broke, or could not be opened."""
        if not self.connection.is_active:
            return
        self.analyse()
        is_normal = code == _NORMAL_CLOSE or not self.has_pending_transcript
        if self.is_close_sent and is_normal:
            self._end(now, is_complete=True)
        elif self.connection.is_rejected_by_close(code, now):
            self._reject(reason, 400, now)
        else:
            self._replace_connection(reason, code, now, by_server=True)

    def message_received(self, data: str | bytes, now: float) -> None:
        """One message arrived."""
        self.connection.message_received(now)
        if self.connection.state is not ConnectionState.OPEN:
            return
        self.taps.on(now, MomentKind.RECEIVED, data)
        self.analyse()
        self._handle(decode(data), now)

    def pong_received(self, number: int, now: float) -> None:
        """The ping with a number was answered."""
        self.connection.pong_received(number, now)

    def writable(self, now: float, *, is_writable: bool) -> None:
        """The socket stopped taking data, or takes it again."""
        self.connection.writable(now, is_writable=is_writable)
        if is_writable:
            self.timeout(now)

    # --- input of the clock -------------------------------------------------------------------

    def timeout(self, now: float) -> None:
        """Do what is due; to be called at `next_timeout`, or at any time."""
        if self.is_closed:
            return
        if now >= self.drain.deadline:
            self._end(now, is_complete=False)
            return
        state = self.connection.state
        if reason := self.connection.check(now):
            self.drop(reason, now, timed_out=state is ConnectionState.CONNECTING)
        elif self.connection.state is ConnectionState.OPEN:
            self.sender.pump(now, flush=True)
        self._send_commands(now)
        if now < self._housekeeping.early:
            return
        self._housekeeping.done(now, is_idle=self.connection.state is ConnectionState.IDLE)
        self.analyse()
        self._do_housekeeping(now)

    # --- for the endpoints --------------------------------------------------------------------

    def analyse(self) -> None:
        """Analyse the audio that was received since the last time."""
        self._analysis.flush(self._audio_at)

    def drop(
        self, reason: str, now: float, code: int | None = None, *, timed_out: bool = False
    ) -> None:
        """Abort the present connection, or the attempt at one, and replace it."""
        self.connection.drop()
        self._replace_connection(reason, code, now, timed_out=timed_out)

    def send_keepalive_silence(self, now: float, *, in_turn: bool) -> bool:
        """Send the silence that is due where audio stopped; tell whether any was."""
        self.emit_gap(now)
        # After one delay of the process, audio waits to be handed in; a process that is always
        # late has none waiting.
        if self.is_finishing or self._housekeeping.is_late_once or self.sender.backlog:
            return False
        count = self._keepalive.messages_due(
            now,
            audio_at=self._audio_at,
            frame=self.sender.format.seconds(self._frame_size),
            in_turn=in_turn,
            is_stopped=self._stopped_at >= self._audio_at,
        )
        for _ in range(count):
            self.sender.send_silence(SILENCE, now)
        self._housekeeping.do_by(self._keepalive.next_at)
        return count > 0

    def options_changed(self, now: float) -> None:
        """The options have changed in a way that takes a new connection."""
        self._reconnect_pending = self.connection.is_active
        self.reconnect_for_new_options(now)

    def reconnect_for_new_options(self, now: float) -> None:
        """Replace the connection for new options, once no transcript is pending."""
        if not self._reconnect_pending or self.is_finishing:
            return
        if self.connection.state is ConnectionState.OPEN and not self.has_pending_transcript:
            self.drop(_NEW_OPTIONS, now)

    def server_error(self, message: ErrorMessage, now: float, instead: T | None = None) -> None:
        """The server reported an error; the connection ends with it, whether it says so or not.

        Args:
            message: The error.
            now: The time.
            instead: What the application receives instead, when its cause has been removed.
        """
        reason = f"error {message.status}: {message.title or message.code or 'untitled'}"
        if self.is_close_sent and not self.has_pending_transcript:
            self.log.debug("%s after close", reason)
        elif instead is not None or not is_permanent(message.status):
            self.emit(message if instead is None else instead, now)
            self.connection.drop()
            self._replace_connection(reason, message.status, now, by_server=True)
        else:
            self.connection.request_id = message.request_id or self.connection.request_id
            text = f"{message.title or 'rejected'}: {message.message}"
            self._reject(text, message.status, now, message.code)

    # --- inside -------------------------------------------------------------------------------

    def _replace_connection(
        self,
        reason: str,
        code: int | None,
        now: float,
        *,
        delay: float | None = None,
        timed_out: bool = False,
        by_server: bool = False,
    ) -> None:
        """Reconnect after the backoff, or when there is audio."""
        reason = one_line(reason)
        was_open = self.connection.state is ConnectionState.OPEN
        if was_open:
            sender = self.sender
            if code in _OVERLOAD and sender.backlog > sender.format.size(_BACKLOG):
                sender.pacer.slow_down()
            self._interrupt_transcript()
        self.drain.connection_lost()
        self._reconnect_pending = False
        self.sender.connection_lost()
        if self._can_idle(now):
            delay = None
        elif delay is None:
            delay = self.connection.reconnect_delay(now)
        self.connection.lost(now, delay)
        failed = ConnectFailed(reason, code, delay, timed_out)
        event = Disconnected(reason, code, delay) if was_open else failed
        self.taps.on(now, MomentKind.LOST, event)
        if reason != _NEW_OPTIONS:
            self.emit(event, now)
        if was_open and by_server:
            self.give_up_repeated_loss(now)

    def _can_idle(self, now: float) -> bool:
        """Whether nobody waits: then the next audio connects."""
        is_waiting = self.is_finishing or self.has_pending_transcript
        return now - self._audio_at >= _IDLE_AFTER and not is_waiting

    def _reject(self, text: str, status: int, now: float, code: str | None = None) -> None:
        request_id = self.connection.request_id
        text = one_line(text)
        self.rejection = RejectedError(text, status=status, code=code, request_id=request_id)
        self.taps.on(now, MomentKind.REJECTED, self.rejection)
        self._forget_commands()
        self._end(now, is_complete=False)

    def _end(self, now: float, *, is_complete: bool) -> None:
        """End the session: give the last known text, and account for audio that was not sent."""
        for event in self._last_events(is_complete=is_complete):
            self.emit(event, now)
        self._close(now)

    def _close(self, now: float) -> None:
        self.sender.give_up_backlog()
        self.emit_gap(now)
        self.connection.close()
        self._housekeeping.stop()
        self.drain.deadline = _NEVER
        self.taps.on(now, MomentKind.FINISHED)
