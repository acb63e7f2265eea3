"""A recorded call as an engine of the local server: the same messages at the same audio.

    @pytest.mark.ink_server(Recording("call.ink"))
    async def test_yesterdays_call(ink_server, ink_caller):
        call = await ink_caller.play(make_worker(ink_server.url))
        assert_answered(call)
        assert_no_reply_before_turn_end(call)

A message comes when its connection has been sent as much audio as it had been when the message came
in the call; a connection is dropped where it was lost. How long reconnecting took is not repeated.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cartesia_ink_plugins.core.audio import AudioFormat, FrameConverter
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Transcript
from cartesia_ink_plugins.core.wire import decode
from cartesia_ink_plugins.observe.reader import RecordedCall, read_recording
from cartesia_ink_plugins.observe.sound import resampled
from cartesia_ink_plugins.server.engine import Close, Emit, Engine, Outgoing, Raw, TurnThresholds
from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest

_DROPPED = 1006  # close code of a connection that just ended
_TOLERANCE = 1e-3  # seconds by which recorded times are rounded, and more


@dataclass(frozen=True, slots=True)
class _Item:
    """A message that a connection received.

    Attributes:
        heard: Seconds of audio that it had been sent by then.
        message: As JSON has it; None where the connection was lost.
        command: What had been asked of the server last: `finalize`, `close` or nothing.
    """

    heard: float
    message: dict[str, Any] | None
    command: str = ""


class Recording:
    """A recorded call that can be replayed.

    Attributes:
        call: What was recorded.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read a recording.

        Raises:
            UsageError: There is none.
        """
        self.call = read_recording(path)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the caller's audio, in Hz."""
        return self.call.meta.sample_rate or AudioFormat().sample_rate

    @property
    def transcripts(self) -> list[str]:
        """The text of every turn, as the application received it."""
        return [
            str(moment.fields.get("transcript", moment.fields.get("text", "")))
            for moment in self.call.of("event")
            if moment.fields["event"] in ("turn.end", "final")
        ]

    def audio(self, format: AudioFormat | None = None) -> bytes:
        """Return the caller's audio, with silence where none was sent.

        Args:
            format: Of the bytes; 16-bit at 16 kHz by default.

        Raises:
            UsageError: No sound was recorded.
        """
        format = format or AudioFormat()
        sound = self.call.audio()
        if sound is None:
            raise UsageError(f"{self.call.path}: has no sound (audio=False)")
        samples = resampled(sound.caller, sound.sample_rate, format.sample_rate)
        return FrameConverter(format).encode(samples.astype("<i2").tobytes())

    def parts(self, format: AudioFormat | None = None) -> list[tuple[float, bytes]]:
        """Return the caller's audio in parts, between which none was sent (a muted caller).

        Args:
            format: As of `audio`.

        Returns:
            Of each part, at which second of `audio` it begins, and its bytes.

        Raises:
            UsageError: No sound was recorded.
        """
        format = format or AudioFormat()
        pcm = self.audio(format)
        length = format.seconds(len(pcm))
        spans = self._spans(length) or [(0.0, length)]
        cuts = [(format.size(start), format.size(end)) for start, end in spans]
        return [(format.seconds(start), pcm[start:end]) for start, end in cuts if pcm[start:end]]

    def _spans(self, length: float) -> list[tuple[float, float]]:
        """Return where audio was sent, in seconds of the sound: each pause has a line."""
        spans: list[tuple[float, float]] = []
        lines = sorted(self.call.of("audio"), key=lambda line: (line.session, line.t))
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            start = line.fields["at"] - self.call.meta.audio_start
            end = length
            if following is not None and following.session == line.session:
                end = start + following.fields["position"] - line.fields["position"]
            spans.append((max(start, 0.0), min(end, length)))
        return _joined(spans)

    def engine(self) -> Engine:
        """Return an engine that plays the call from its beginning, once."""
        return RecordedEngine(_connections(self.call))


@dataclass(slots=True)
class RecordedEngine:
    """Replays the connections of a call in order; later connections get no messages.

    A connection that never has audio, such as a spare one, plays none of them.
    """

    _connections: deque[list[_Item]]

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> RecordedEar:
        """Open the next connection."""
        return RecordedEar(format, emit, self._next)

    def open_manual(self, request: ManualRequest, emit: ManualEmit) -> RecordedManualEar:
        """Open the next connection to the manual endpoint."""
        return RecordedManualEar(request.format, emit, self._next)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to free."""

    def _next(self) -> deque[_Item]:
        return deque(self._connections.popleft() if self._connections else ())


class _RecordedConnection(ABC):
    """Replays the messages of one connection at their positions of the audio."""

    def __init__(self, format: AudioFormat, take: Callable[[], deque[_Item]]) -> None:
        """Create the stream; nothing is sent before the first audio.

        Args:
            format: Of the audio.
            take: Returns what is said on the next connection; called with the first audio.
        """
        self._format = format
        self._take = take
        self._items: deque[_Item] = deque()
        self._size = 0

    def receive_audio(self, pcm: bytes) -> None:
        """Process audio, and emit the messages up to this position that no command caused."""
        if not self._size:
            self._items = self._take()
        self._size += len(pcm)
        heard = self._format.seconds(self._size) + _TOLERANCE
        while self._items and self._items[0].heard <= heard and not self._items[0].command:
            self._say(self._items.popleft())

    def abort(self) -> None:
        """Emit nothing more."""
        self._items.clear()

    @abstractmethod
    def _say(self, item: _Item) -> None:
        """Emit recorded messages."""


class RecordedEar(_RecordedConnection):
    """Replays one connection to the turns endpoint."""

    def __init__(self, format: AudioFormat, emit: Emit, take: Callable[[], deque[_Item]]) -> None:
        """Emit with `emit`; see the base class."""
        super().__init__(format, take)
        self._emit = emit

    def configure(self, settings: TurnThresholds) -> None:
        """Do nothing: the recorded messages do not depend on thresholds."""

    async def close(self) -> None:
        """Emit the messages after `close`, and the rest that waits for more audio."""
        while self._items:
            item = self._items.popleft()
            if item.message is not None:
                self._say(item)

    def _say(self, item: _Item) -> None:
        if item.message is None:
            said: Outgoing = Close(_DROPPED)
        else:
            said = Raw(json.dumps(item.message))
        self._emit([said])


class RecordedManualEar(_RecordedConnection):
    """Replays one connection to the manual endpoint."""

    def __init__(
        self, format: AudioFormat, emit: ManualEmit, take: Callable[[], deque[_Item]]
    ) -> None:
        """Emit with `emit`; see the base class."""
        super().__init__(format, take)
        self._emit = emit

    async def finalize(self) -> None:
        """Emit the messages up to the next confirmation."""
        while self._items:
            item = self._items.popleft()
            if item.message is not None and item.message.get("type") == "flush_done":
                return
            self._say(item)

    def _say(self, item: _Item) -> None:
        message = None if item.message is None else decode(json.dumps(item.message))
        if isinstance(message, Transcript):
            self._emit([message])


def _connections(call: RecordedCall) -> deque[list[_Item]]:
    """Return the messages of each connection, in the order in which they were opened."""
    connections: dict[tuple[int, int], list[_Item]] = {}
    heard, command = 0.0, ""
    for moment in call.of("opened", "sent", "received", "lost", "command"):
        key = moment.session, moment.connection
        match moment.kind:
            case "opened":
                connections[key] = []
                heard, command = 0.0, ""
            case "sent":
                heard = moment.fields["heard"]
            case "command":
                command = _command(moment.fields["message"])
            case "received" if isinstance(message := moment.fields["message"], dict):
                if message.get("type") not in ("connected", "done"):
                    item = _Item(moment.fields["heard"], message, command)
                    connections.setdefault(key, []).append(item)
                if message.get("type") == "flush_done":
                    command = ""
            case "lost" if key in connections and moment.fields["event"] == "disconnected":
                connections[key].append(_Item(heard, None))
    return deque(
        items for items in connections.values() if any(item.message or item.heard for item in items)
    )


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sort spans and merge those that overlap."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _command(message: object) -> str:
    """Return the messages that a command causes; new thresholds cause none."""
    if isinstance(message, dict):
        return "close" if message.get("type") == "close" else ""
    return str(message)
