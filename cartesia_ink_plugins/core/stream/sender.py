"""Sends the audio of a session: in order, at the right pace, over as many connections as it takes.

The sender owns two positions: how far the present connection was sent (`sent`) and how far any
connection was (`reached`). What lies between `reached` and the end of the replay buffer was never
sent; what leaves the buffer unsent is a gap.
"""

from __future__ import annotations

from collections.abc import Callable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import AudioGap
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stats import ByteCounts
from cartesia_ink_plugins.core.stream.outbox import Action, Ping
from cartesia_ink_plugins.core.stream.pacing import Pacer
from cartesia_ink_plugins.core.stream.replay_buffer import ReplayBuffer
from cartesia_ink_plugins.core.stream.server_position import (
    PING_INTERVAL,
    POINT_INTERVAL,
    ServerPosition,
)
from cartesia_ink_plugins.core.tap import MomentKind, SentAudio, Span, Taps

# Seconds of audio in one message of a backlog; the API recommends 0.05 to 0.2.
_MAX_MESSAGE = 0.1
_NEVER = float("inf")


class AudioSender:
    """The sending half of a session.

    Attributes:
        buffer: All audio that may have to be sent.
        counts: Where every byte went.
        pacer: Limits how fast a backlog is sent.
        server: What of the stream the server has received.
        sent: The position up to which the present connection, or the last, was sent audio.
        limit: Nothing beyond this position is sent, because a command belongs there; None for no
            limit.
        send: Puts an action into the outbox.
        next_at: When `pump` must be called next, because the pacer holds audio back.
        blocked_since: When the socket stopped taking audio; None while it takes it.
        needs_position: Whether pings are sent among the audio, because messages about it are to
            come.
    """

    def __init__(
        self,
        format: AudioFormat,
        resilience: Resilience,
        send: Callable[[Action], None],
        taps: Taps,
    ) -> None:
        """Begin with no audio and no connection.

        Args:
            format: Of the audio.
            resilience: How much audio is kept, and how fast a backlog is sent.
            send: Puts an action into the outbox.
            taps: Told of what is sent.
        """
        self.format = format
        self.buffer = ReplayBuffer(format.size(resilience.replay_buffer_seconds))
        self.counts = ByteCounts()
        self.pacer = Pacer(format, resilience.catch_up_rate)
        self.server = ServerPosition()
        self.sent = 0
        self.limit: int | None = None
        self.next_at = _NEVER
        self.blocked_since: float | None = None
        self.needs_position = False
        self.send = send
        self._taps = taps
        self._reports_audio = taps.want(MomentKind.SENT)
        self._reached = 0
        self._given_up = 0
        self._min_message = max(format.size(resilience.min_message_seconds), 1)
        self._max_message = max(format.size(_MAX_MESSAGE), format.sample_width)
        self._point_size = format.size(POINT_INTERVAL)
        self._point_at = 0.0
        self._point_position = 0
        self._ping_size = format.size(PING_INTERVAL)
        self._pinged_position = 0
        self._gap: tuple[int, int] | None = None
        self._replay: tuple[int, int] | None = None

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent on the present connection, or the next."""
        return self.buffer.end - max(self.sent, self.buffer.start)

    @property
    def reached(self) -> int:
        """The position up to which any connection was sent audio."""
        return self._reached

    @property
    def is_caught_up(self) -> bool:
        """Whether all audio that was handed in has been sent on this connection."""
        return self.sent == self.buffer.end

    def audio_received(self, pcm: bytes) -> None:
        """Take audio in."""
        self.counts.received += len(pcm)
        if self.buffer.append(pcm):
            self._skip_overflow()

    def connection_opened(self, position: int, now: float, hold_back: float = 0.0) -> None:
        """A connection is open: send from a position on.

        Args:
            position: Where to begin.
            now: The time.
            hold_back: Seconds until a replay begins in earnest.
        """
        self.counts.connections += 1
        self.sent = max(position, self.buffer.start)
        self._replay = (self.sent, self._reached) if self.sent < self._reached else None
        if self._replay:
            self._taps.on(now, MomentKind.REPLAY_BEGAN, self.span(*self._replay))
        self.blocked_since = None
        self.server.connection_opened(self.sent, now)
        self._pinged_position = self.sent
        self._point_at = now
        self.pacer.restart(now, hold_back if self._replay else 0.0)
        self.pump(now)

    def connection_lost(self) -> None:
        """The connection is gone."""
        self.next_at = _NEVER
        self.server.connection_lost()

    def ping(self, now: float) -> None:
        """Send a ping behind the audio that was sent."""
        self._pinged_position = self.sent
        self.send(Ping(self.server.ping_sent(self.sent, now)))

    def pump(self, now: float, *, flush: bool = False) -> None:
        """Send as much of the backlog as the pace allows, in order.

        Args:
            now: The time.
            flush: Whether also to send what is less than the minimum size of a message.
        """
        self.next_at = _NEVER
        end = self.buffer.end if self.limit is None else self.limit
        least = 1 if flush or self.limit is not None else self._min_message
        while (pending := end - self.sent) >= least and self.blocked_since is None:
            size = pending if pending < self._max_message else self._max_message
            if wait := self.pacer.spend(size, now):
                self.next_at = now + wait
                return
            data = self.buffer.read(self.sent, size)
            self.send(data)
            self.sent = sent = self.sent + size
            if now >= self._point_at or sent >= self._point_position:
                self.server.audio_sent(sent, now)
                self._point_at = now + POINT_INTERVAL
                self._point_position = sent + self._point_size
                is_ping_due = sent - self._pinged_position >= self._ping_size
                if self.needs_position and is_ping_due and self.server.can_ping:
                    self.ping(now)
            new = sent - self._reached
            if new < size:
                new = max(0, new)
                self.counts.replayed += size - new
            self.counts.sent += new
            self._reached += new
            if self._replay and sent >= self._replay[1]:
                self._taps.on(now, MomentKind.REPLAY_ENDED, self.span(*self._replay))
                self._replay = None
            if self._reports_audio:
                span = self.span(sent - size, sent)
                audio = SentAudio(span.start, span.end, span.seconds, data)
                self._taps.on(now, MomentKind.SENT, audio)

    def send_silence(self, seconds: float, now: float) -> None:
        """Send silence that nobody handed in; it has no position and is never replayed."""
        silence = self.format.silence(seconds)
        self.counts.silence += len(silence)
        self.send(silence)
        position = self.format.seconds(self.sent)
        self._taps.on(now, MomentKind.SILENCE, Span(position, position, seconds))

    def take_gap(self) -> AudioGap | None:
        """Return the audio that was lost since the last call, as one gap."""
        if self._gap is None:
            return None
        (position, size), self._gap = self._gap, None
        return AudioGap(self.format.seconds(size), self.format.seconds(position))

    def give_up(self, start: int, end: int) -> int:
        """Count audio that was sent, but will never be transcribed, as lost.

        Args:
            start: Where it begins.
            end: Where it ends; what was never sent is not given up.

        Returns:
            Where the audio behind it begins.
        """
        end = min(end, self._reached)
        start = max(start, self.buffer.start, self._given_up)
        if end > start:
            self._given_up = end
            self._gap = (start, end - start)
            self.counts.sent -= end - start
            self.counts.lost += end - start
        return end

    def give_up_backlog(self) -> None:
        """Count what was never sent as lost, at the end of the session: nothing is due any more."""
        self.next_at = _NEVER
        self._lose(self.buffer.end)

    def span(self, start: int, end: int) -> Span:
        """Return a stretch between two positions, in seconds."""
        seconds = self.format.seconds
        return Span(seconds(start), seconds(end), seconds(end - start))

    def _skip_overflow(self) -> None:
        """Skip what the buffer no longer holds."""
        if self.buffer.start > self.sent:
            self._lose(self.buffer.start)
            self.sent = self.buffer.start

    def _lose(self, position: int) -> None:
        """Count what no connection was sent before a position as lost."""
        size = position - self._reached
        if size > 0:
            first = self._gap[0] if self._gap else self._reached
            self._gap = (first, size + (self._gap[1] if self._gap else 0))
            self._reached = position
            self.counts.lost += size
