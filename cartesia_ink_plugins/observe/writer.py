"""What becomes of the moments of a call, in the thread that writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cartesia_ink_plugins.core.audio import FrameConverter
from cartesia_ink_plugins.core.tap import (
    BotAudio,
    InputAudio,
    Moment,
    MomentKind,
    SentAudio,
    SessionStart,
    Span,
)
from cartesia_ink_plugins.observe.folder import (
    FORMAT_VERSION,
    RecordingFolder,
    remove_old,
    timestamp,
    versions,
)
from cartesia_ink_plugins.observe.lines import line_kind, options_fields, payload_fields
from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.ring import Ring
from cartesia_ink_plugins.observe.sound import JITTER, Pcm, SoundFile, sound_file_class
from cartesia_ink_plugins.observe.wording import Wording

CALLER, BOT = 0, 1  # channels
_SENT_LINE = 1.0  # seconds of audio that one line tells of at most
_MEGABYTE = 1_000_000

Item = tuple[int, Moment]
"""The number of a session in the call, from 1, and what happened in it."""


@dataclass(slots=True)
class _Session:
    """One client of the call.

    Attributes:
        converter: Of its audio.
        heard: Seconds of audio that the present connection has been sent.
        place: Seconds of the call minus seconds of the stream, where audio was handed in last.
        sent: The stretch of audio that no line tells of yet.
    """

    converter: FrameConverter
    heard: float = 0.0
    place: float | None = None
    sent: dict[str, Any] | None = None


@dataclass(slots=True)
class CallWriter:
    """Writes one call; every method may raise what the disk raises."""

    options: RecordOptions
    _folder: RecordingFolder | None = None
    _sound: SoundFile | None = None
    _ring: Ring | None = None
    _wording: Wording = field(init=False)
    _sessions: dict[int, _Session] = field(default_factory=dict)
    _lines: list[dict[str, Any]] = field(default_factory=list)
    _start: float | None = None
    _epoch: float = 0.0
    _now: float = 0.0
    _meta: dict[str, Any] = field(default_factory=dict)
    _sound_bytes: int = 0

    def __post_init__(self) -> None:
        """Keep the last seconds in memory, where the options say so."""
        self._wording = Wording(self.options)
        if self.options.last_seconds is not None:
            self._ring = Ring(self.options.last_seconds)

    @property
    def path(self) -> Path | None:
        """Where the recording is; None where nothing was written."""
        return self._folder.path if self._folder else None

    @property
    def is_full(self) -> bool:
        """Whether the recording has the size at which it ends."""
        size = self._sound_bytes + (self._folder.size if self._folder else 0)
        return size >= self.options.max_megabytes * _MEGABYTE

    def write(self, items: list[Item], dropped: int) -> None:
        """Write what happened, in order.

        Args:
            items: What happened.
            dropped: How many moments before them were dropped, because the disk was too slow.
        """
        for number, moment in items:
            kept = [(number, moment)] if self._ring is None else self._ring.add(number, moment)
            if kept is not None:
                self._ring = None
                for one in kept:
                    self._take(*one)
        if dropped:
            self._line("dropped", {"count": dropped})
        self._flush()

    def close(self, reason: str) -> None:
        """Complete the recording.

        Args:
            reason: Why it ends; the line `ended` has it.
        """
        if self._folder is None:
            return
        for number, session in self._sessions.items():
            self._sent_line(number, session)
        self._line("ended", {"reason": reason})
        self._flush()
        if self._sound is not None:
            self._sound.close()
        self._meta |= {"is_complete": True, "seconds": round(self._now, 3)}
        self._folder.write_meta(self._meta)
        self._folder.complete()

    def abandon(self) -> None:
        """Leave what was written as it is."""
        if self._folder is not None:
            self._folder.abandon()

    # --- moments ------------------------------------------------------------------------------

    def _take(self, number: int, moment: Moment) -> None:
        if isinstance(moment.payload, SessionStart):
            self._begin(number, moment.time, moment.payload)
        session = self._sessions.get(number)
        if session is None or self._start is None:
            return  # its beginning was dropped
        at = max(0.0, moment.time - self._start)
        self._now = max(self._now, at)
        payload = moment.payload
        match moment.kind:
            case MomentKind.SENT if isinstance(payload, SentAudio):
                self._sent(number, session, moment, payload, at)
                return
            case MomentKind.AUDIO if isinstance(payload, InputAudio):
                self._handed_in(number, session, payload, at)
                return
            case MomentKind.BOT_AUDIO if isinstance(payload, BotAudio):
                self._bot(payload, at)
                return
        self._sent_line(number, session)
        fields = payload_fields(moment, self._wording, self._epoch)
        match moment.kind:
            case MomentKind.OPENED:
                session.heard = 0.0
            case MomentKind.SILENCE if isinstance(payload, Span):
                session.heard += payload.seconds
            case MomentKind.INTERRUPTION if self._sound is not None:
                self._sound.cut(BOT, at)  # a voice is made faster than it is spoken
            case MomentKind.RECEIVED:
                fields["heard"] = round(session.heard, 4)
        self._line(line_kind(moment.kind), fields, number, moment, at)

    def _begin(self, number: int, now: float, start: SessionStart) -> None:
        """A client of the call begins; the first begins the recording."""
        self._sessions[number] = _Session(FrameConverter(start.options.format))
        if self._folder is not None:
            return
        self._start, self._epoch = now, start.epoch + now
        options = self.options
        if options.keep_days is not None:
            remove_old(options.folder, options.keep_days)
        name = timestamp(self._epoch)[:19].replace(":", "-")
        self._folder = RecordingFolder(options.file(f"{name}-{start.session_id}"))
        self._meta = {
            "format": FORMAT_VERSION,
            "started": timestamp(self._epoch),
            "epoch": round(self._epoch, 4),
            "versions": versions(),
            "options": options_fields(start.options),
            "text": options.text,
            "is_complete": False,
        }
        self._folder.write_meta(self._meta)

    def _sent(
        self, number: int, session: _Session, moment: Moment, audio: SentAudio, at: float
    ) -> None:
        """Audio left: lines tell of a second at a time, sound is recorded where it came in."""
        session.heard += audio.seconds
        line = session.sent
        is_next = line is not None and (
            line["connection"] == moment.connection and abs(line["end"] - audio.start) < 1e-6
        )
        if line is None or not is_next:
            self._sent_line(number, session)
            line = session.sent = {
                "since": round(at, 4),
                "connection": moment.connection,
                "turn": moment.turn,
                "start": audio.start,
            }
        line |= {"t": at, "end": audio.end, "heard": session.heard}
        if audio.end - line["start"] >= _SENT_LINE:
            self._sent_line(number, session)

    def _sent_line(self, number: int, session: _Session) -> None:
        line, session.sent = session.sent, None
        if line is not None:
            numbers = {name: round(line[name], 4) for name in ("t", "start", "end", "heard")}
            self._lines.append({"t": 0.0, "kind": "sent", "session": number} | line | numbers)

    def _handed_in(self, number: int, session: _Session, audio: InputAudio, at: float) -> None:
        """Audio came in, which ended now: it is put where its time is."""
        began = at - audio.seconds
        place = session.place
        if place is None or began - (audio.start + place) > JITTER:
            session.place = place = max(0.0, began) - audio.start
            fields = {"position": round(audio.start, 4), "at": round(audio.start + place, 4)}
            self._lines.append({"t": round(at, 4), "kind": "audio", "session": number, **fields})
        if self.options.audio:
            converter = session.converter
            samples = np.frombuffer(converter.decode(audio.data), np.int16)
            rate = converter.format.sample_rate
            self._add_sound(CALLER, samples, rate, audio.start + place)

    def _bot(self, audio: BotAudio, at: float) -> None:
        if self.options.audio:
            samples = np.frombuffer(audio.data[: len(audio.data) // 2 * 2], np.int16)
            self._add_sound(BOT, samples, audio.sample_rate, at)

    def _add_sound(self, channel: int, samples: Pcm, rate: int, at: float) -> None:
        if self._sound is None:
            assert self._folder is not None
            rate_of_file = next(iter(self._sessions.values())).converter.format.sample_rate
            kind = sound_file_class()
            self._sound = SoundFile(
                kind(self._folder.file(kind.name), rate_of_file), rate_of_file, at
            )
            self._meta |= {
                "audio": kind.name,
                "sample_rate": rate_of_file,
                "audio_start": round(at, 4),
                "channels": ["caller", "bot"],
            }
            self._folder.write_meta(self._meta)
        self._sound.add(channel, samples, rate, at)

    # --- out ----------------------------------------------------------------------------------

    def _line(
        self,
        kind: str,
        fields: dict[str, Any],
        number: int = 0,
        moment: Moment | None = None,
        at: float | None = None,
    ) -> None:
        line: dict[str, Any] = {"t": round(self._now if at is None else at, 4), "kind": kind}
        if moment is not None:
            line |= {"session": number, "connection": moment.connection, "turn": moment.turn}
        self._lines.append(line | fields)

    def _flush(self) -> None:
        if self._folder is None:
            return
        lines, self._lines = self._lines, []
        self._folder.write_lines(lines)
        if self._sound is not None:
            self._sound.write_until(self._now)
            self._sound_bytes = self._folder.sound_size()
