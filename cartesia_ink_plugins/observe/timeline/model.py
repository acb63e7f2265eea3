"""What happened in a call: turns, replies, connections, each with its times.

All times are seconds since the start of the recording. What a recording does not tell is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cartesia_ink_plugins.observe.reader import RecordedCall, RecordedMoment

# Seconds between two pieces of inserted silence that are told as one.
_SAME_SILENCE = 1.0
_THRESHOLDS = {
    "turn_start_threshold": "start",
    "turn_eager_end_threshold": "eager end",
    "turn_end_threshold": "end",
    "turn_end_timeout_ms": "timeout",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the call.

    Attributes:
        start: When it begins.
        end: When it ends.
        text: What there is to say of it.
    """

    start: float
    end: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Instant:
    """Something that happened at once.

    Attributes:
        t: When.
        text: What there is to say of it.
    """

    t: float
    text: str = ""


@dataclass(slots=True)
class Reply:
    """A reply that was begun before the end of its turn.

    Attributes:
        start: When it was begun.
        end: When it was decided; None if that is not recorded.
        outcome: `kept`, `withdrawn` or `mismatched`; empty if it is not recorded.
        prompt_tokens: Tokens that the LLM has read for it.
        completion_tokens: Tokens that the LLM has written for it.
    """

    start: float
    end: float | None = None
    outcome: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def tokens(self) -> str:
        """The tokens, as one says them; empty where they are not known."""
        counts = [(self.prompt_tokens, "read"), (self.completion_tokens, "written")]
        known = [f"{count} tokens {what}" for count, what in counts if count is not None]
        return ", ".join(known)

    @property
    def is_unused(self) -> bool:
        """Whether it was begun in vain."""
        return self.outcome in ("withdrawn", "mismatched")


@dataclass(slots=True)
class Turn:
    """A turn of the caller.

    Attributes:
        session: Number of the client in the call.
        number: Of the turn in its session.
        start: When the application was told that it began.
        end: When the application was told that it ended; None if it was not.
        text: Its final text, or the last that is known.
        speech_start: When the caller began to speak.
        speech_end: When the caller's last speech ended.
        eager_ends: When it may have ended, each with the text so far.
        resumes: When it went on.
        llm_started: When the LLM was asked for the reply.
        llm_output: The first text of the reply.
        tts_output: The first audio of the reply.
        bot_started: When the bot began to speak.
        replies: Those that were begun early.
    """

    session: int
    number: int
    start: float
    end: float | None = None
    text: str = ""
    speech_start: float | None = None
    speech_end: float | None = None
    eager_ends: list[Instant] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    llm_started: float | None = None
    llm_output: float | None = None
    tts_output: float | None = None
    bot_started: float | None = None
    replies: list[Reply] = field(default_factory=list)


@dataclass(slots=True)
class CallTimeline:
    """A call.

    Attributes:
        name: Of the recording.
        seconds: How long it was.
        epoch: Wall-clock time of its start, in seconds since 1970.
        versions: Of the packages that took part.
        is_complete: Whether the recording was ended, and not cut off.
        turns: The caller's turns, in order.
        bot: When the bot spoke.
        interruptions: When the caller interrupted the bot.
        connections: From `connected` to the end of each connection.
        losses: Connections that were lost, attempts that failed, and rejections.
        catching_up: When kept audio was sent again.
        replayed: Where that audio lies in the call.
        silences: Where silence was put in.
        gaps: Audio that was given up.
        errors: What the server reported, and what the recording lacks.
        thresholds: What was in force, from when on.
    """

    name: str
    seconds: float
    epoch: float
    versions: Mapping[str, str]
    is_complete: bool = True
    turns: list[Turn] = field(default_factory=list)
    bot: list[Stretch] = field(default_factory=list)
    interruptions: list[Instant] = field(default_factory=list)
    connections: list[Stretch] = field(default_factory=list)
    losses: list[Instant] = field(default_factory=list)
    catching_up: list[Stretch] = field(default_factory=list)
    replayed: list[Stretch] = field(default_factory=list)
    silences: list[Stretch] = field(default_factory=list)
    gaps: list[Stretch] = field(default_factory=list)
    errors: list[Instant] = field(default_factory=list)
    thresholds: list[tuple[float, dict[str, float]]] = field(default_factory=list)


def build_timeline(call: RecordedCall) -> CallTimeline:
    """Make a timeline of a recording.

    Args:
        call: The recording; its sound is not needed.
    """
    meta = call.meta
    timeline = CallTimeline(
        call.path.name, call.seconds, meta.epoch, meta.versions, meta.is_complete
    )
    builder = _Builder(call, timeline)
    for moment in call.moments:
        builder.add(moment)
    builder.finish()
    return timeline


class _Builder:
    """Follows the moments of a call in their order."""

    def __init__(self, call: RecordedCall, timeline: CallTimeline) -> None:
        self._call = call
        self._timeline = timeline
        self._turns: dict[tuple[int, int], Turn] = {}
        self._opened: dict[tuple[int, int], tuple[float, str]] = {}
        self._catching_up: dict[int, RecordedMoment] = {}
        self._bot_since: float | None = None

    def add(self, moment: RecordedMoment) -> None:
        """Take the next moment."""
        timeline, t, fields = self._timeline, moment.t, moment.fields
        match moment.kind:
            case "event":
                self._event(moment)
            case "started" | "settings":
                self._settings(t, fields.get("options") or {})
            case "opened":
                key = moment.session, moment.connection
                self._opened[key] = t, str(fields.get("request_id") or "")
            case "lost":
                self._lost(moment)
            case "rejected":
                timeline.losses.append(Instant(t, f"rejected: {fields.get('message')}"))
                self._close(moment, "rejected")
            case "finished":
                self._close(moment, "closed")
            case "replay_began":
                self._catching_up[moment.session] = moment
            case "replay_ended":
                self._replayed(moment, t)
            case "silence":
                self._silence(t, _number(fields, "seconds"))
            case "gap":
                self._gap(moment)
            case "interruption":
                told = "the caller interrupted the bot"
                if self._bot_since is None:
                    told = "the caller interrupted; the bot was not speaking"
                timeline.interruptions.append(Instant(t, told))
            case "bot_started":
                self._bot_since = t if self._bot_since is None else self._bot_since
                self._milestone(moment, "bot_started")
            case "bot_stopped":
                self._bot_stopped(t)
            case "speculation_began":
                self._turn(moment).replies.append(Reply(t))
            case "speculation_ended":
                self._decided(moment)
            case "llm_started" | "llm_output" | "tts_output":
                self._milestone(moment, moment.kind)
            case "dropped":
                told = f"{fields.get('count')} moments were not recorded: the disk was too slow"
                timeline.errors.append(Instant(t, told))
            case "ended" if fields.get("reason") != "call ended":
                timeline.errors.append(Instant(t, f"the recording ended: {fields.get('reason')}"))

    def finish(self) -> None:
        """End what the recording leaves open."""
        end = self._timeline.seconds
        self._bot_stopped(end)
        for began in list(self._catching_up.values()):
            self._replayed(began, end)
        for (session, connection), (opened, request_id) in sorted(self._opened.items()):
            self._connection(session, connection, opened, end, request_id, "")
        self._timeline.turns.sort(key=lambda turn: turn.start)
        self._timeline.connections.sort(key=lambda one: one.start)

    # --- turns --------------------------------------------------------------------------------

    def _turn(self, moment: RecordedMoment) -> Turn:
        """The turn of a moment; one of which nothing else was recorded begins with it."""
        key = moment.session, moment.turn
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = Turn(*key, moment.t)
            if moment.turn:
                self._timeline.turns.append(turn)
        return turn

    def _event(self, moment: RecordedMoment) -> None:
        name, fields = str(moment.fields.get("event", "")), moment.fields
        if name == "error":
            told = " ".join(str(fields.get(part, "")) for part in ("status", "message"))
            self._timeline.errors.append(Instant(moment.t, f"the server reports: {told}"))
        if name == "settings_rejected":
            told = "the server rejected a change of settings"
            self._timeline.errors.append(Instant(moment.t, told))
        if not name.startswith("turn.") and name not in ("interim", "final"):
            return
        turn = self._turn(moment)
        text = fields.get("transcript", fields.get("text"))
        if isinstance(text, str):
            turn.text = text
        for place in ("speech_start", "speech_end"):
            if (known := _known(fields, place)) is not None:
                setattr(turn, place, known)
        match name:
            case "turn.eager_end":
                turn.eager_ends.append(Instant(moment.t, turn.text))
            case "turn.resume":
                turn.resumes.append(moment.t)
                turn.speech_end = None
            case "turn.end" | "final":
                turn.end = moment.t
                if name == "final" and turn.speech_start is not None:
                    turn.start = min(turn.start, turn.speech_start)

    def _milestone(self, moment: RecordedMoment, name: str) -> None:
        """Note the first of its kind for the last reply to a turn."""
        turn = self._turn(moment)
        if name == "llm_started":
            # A former reply was withdrawn, or this is the second LLM of a chain.
            turn.llm_started, turn.llm_output, turn.tts_output = moment.t, None, None
        elif getattr(turn, name) is None:
            setattr(turn, name, moment.t)

    def _decided(self, moment: RecordedMoment) -> None:
        fields = moment.fields
        turn = self._turn(moment)
        undecided = [reply for reply in turn.replies if reply.end is None]
        if not undecided:
            lead = _number(fields, "lead")
            turn.replies.append(Reply(max(0.0, moment.t - lead)))
            undecided = turn.replies[-1:]
        reply = undecided[0]
        reply.end, reply.outcome = moment.t, str(fields.get("outcome", ""))
        reply.prompt_tokens = fields.get("prompt_tokens")
        reply.completion_tokens = fields.get("completion_tokens")

    # --- bot ----------------------------------------------------------------------------------

    def _bot_stopped(self, t: float) -> None:
        if self._bot_since is not None:
            self._timeline.bot.append(Stretch(self._bot_since, t, "the bot speaks"))
            self._bot_since = None

    # --- connections --------------------------------------------------------------------------

    def _lost(self, moment: RecordedMoment) -> None:
        fields = moment.fields
        reason = str(fields.get("reason") or "no reason is known")
        wait = _known(fields, "retry_in")
        then = (
            ""
            if wait is None
            else f"; next attempt in {wait:.2g} s"
            if wait
            else "; the next attempt follows at once"
        )
        is_attempt = fields.get("event") == "connect_failed"
        what = (
            "an attempt to connect failed" if is_attempt else f"connection {moment.connection} lost"
        )
        self._timeline.losses.append(Instant(moment.t, f"{what}: {reason}{then}"))
        if not is_attempt:
            self._close(moment, f"lost: {reason}")

    def _close(self, moment: RecordedMoment, how: str) -> None:
        key = moment.session, moment.connection
        opened = self._opened.pop(key, None)
        if opened is not None:
            self._connection(*key, opened[0], moment.t, opened[1], how)

    def _connection(
        self, session: int, number: int, start: float, end: float, request_id: str, how: str
    ) -> None:
        of = f" of client {session}" if session > 1 else ""
        told = f"connection {number}{of}"
        told += f", request id {request_id}" if request_id else ""
        told += f", {how}" if how else ""
        self._timeline.connections.append(Stretch(start, end, told))

    def _replayed(self, moment: RecordedMoment, t: float) -> None:
        began = self._catching_up.pop(moment.session, None)
        if began is None:
            return
        start, end = (_number(began.fields, name) for name in ("start", "end"))
        seconds = max(0.0, end - start)
        told = f"{seconds:.1f} s of audio sent again"
        self._timeline.catching_up.append(Stretch(began.t, t, f"catching up: {told}"))
        first, last = (self._call.time_of(at, moment.session) for at in (start, end))
        self._timeline.replayed.append(Stretch(first, last, told))

    def _silence(self, t: float, seconds: float) -> None:
        silences, start, end = self._timeline.silences, t, t + seconds
        if silences and t - silences[-1].end < _SAME_SILENCE:
            last = silences.pop()
            start, end = last.start, max(last.end, end)
        silences.append(Stretch(start, end, f"{end - start:.1f} s of silence put in"))

    def _gap(self, moment: RecordedMoment) -> None:
        seconds = _number(moment.fields, "seconds")
        start = self._call.time_of(_number(moment.fields, "position"), moment.session)
        told = f"{seconds:.1f} s of audio given up"
        self._timeline.gaps.append(Stretch(start, start + seconds, told))

    def _settings(self, t: float, options: Mapping[str, Any]) -> None:
        known = {
            short: float(value)
            for name, short in _THRESHOLDS.items()
            if isinstance(value := options.get(name), int | float)
        }
        steps = self._timeline.thresholds
        if not steps or steps[-1][1] != known:
            steps.append((t, known))


def _known(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _number(fields: Mapping[str, Any], name: str) -> float:
    return _known(fields, name) or 0.0
