"""The report of a call: a row for each line of the caller, and checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Any

from cartesia_ink_plugins.demo.caller import Line, expected_booking
from cartesia_ink_plugins.demo.journal import CallEvent, Journal, Note

# The local engine spaces turn.eager_end and turn.end by 0.16 s of audio or more. Where they come
# closer together in most turns, it was behind with the audio.
_SPACED = 0.13


@dataclass(frozen=True, slots=True)
class Exchange:
    """One line of the caller and the answer; durations are in seconds, None if unknown.

    Attributes:
        line: The text of the recording.
        transcript: The text of the `turn.end`, verbatim; that of several turns is concatenated.
        answered: The bot's answer, as far as it was played.
        interrupts: Whether the caller was to interrupt the bot.
        cut_off: Whether the caller interrupted this answer.
        eager_lead: From the last `turn.eager_end` to the `turn.end`.
        ready_lead: From the complete reply to the `turn.end`; negative if it was complete later.
        turn_end: From the end of speech to the `turn.end`.
        first_audio: From the end of speech to the bot's first audio.
        bot_stopped: In an interruption, from the caller's first sound to the bot's last one; None
            if the bot was not speaking.
        resumed: Number of `turn.resume`.
    """

    line: str
    transcript: str
    answered: str
    interrupts: bool
    cut_off: bool
    eager_lead: float | None
    ready_lead: float | None
    turn_end: float | None
    first_audio: float | None
    bot_stopped: float | None
    resumed: int


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        what: What is checked.
        passed: Whether it passed; None if the machine was too slow to tell.
        detail: What was measured.
    """

    what: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a call."""

    exchanges: tuple[Exchange, ...]
    checks: tuple[Check, ...]
    booking: dict[str, Any] | None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)


def report(journal: Journal, lines: Sequence[Line], today: date, *, local: bool = False) -> Report:
    """Create the report of a call.

    Args:
        journal: The journal of the call.
        lines: The lines of the caller.
        today: The day of the call.
        local: Whether the recognizer ran on this machine, which may have been too slow for it.
    """
    starts = list(journal.of(CallEvent.CALLER_SPEAKS))
    exchanges = []
    for n, (line, start) in enumerate(zip(lines, starts, strict=False)):
        end = starts[n + 1].at if n + 1 < len(starts) else float("inf")
        notes = [note for note in journal.of(*CallEvent) if start.at <= note.at < end]
        answer = _answer(journal, start.at, end)
        stopped = None if line.interrupts is None else _stopped(journal, start.at)
        exchanges.append(_exchange(line, notes, answer, stopped))
    booked = [json.loads(note.text) for note in journal.of(CallEvent.BOOKED)]
    booking = booked[-1] if booked else None
    checks = _checks(exchanges, lines, booked, journal, today, local=local)
    return Report(tuple(exchanges), tuple(checks), booking)


def _exchange(line: Line, notes: list[Note], answer: list[Note], stopped: float | None) -> Exchange:
    ends = _of(notes, CallEvent.TURN_END)
    spoke = _last(_of(notes, CallEvent.CALLER_SPOKE))
    end = _last(ends)
    speaks = next(
        (n.at for n in _of(notes, CallEvent.BOT_SPEAKS) if end is not None and n.at >= end), None
    )
    turn = [note for note in notes if end is None or note.at <= end]
    return Exchange(
        line=line.spoken_text,
        transcript="".join(note.text for note in ends),
        answered=" ".join(note.text.strip() for note in answer),
        interrupts=line.interrupts is not None,
        cut_off=any(note.what is CallEvent.BOT_INTERRUPTED for note in answer),
        eager_lead=_between(_standing_eager_end(turn), end),
        ready_lead=_between(_ready(notes, speaks), end),
        turn_end=_between(spoke, end),
        first_audio=_between(spoke, speaks),
        bot_stopped=stopped,
        resumed=len(_of(notes, CallEvent.TURN_RESUME)),
    )


def _stopped(journal: Journal, start: float) -> float | None:
    """Seconds from the caller's first sound to the end of the bot's speech at that time."""
    speaks = False
    for note in journal.of(CallEvent.BOT_SPEAKS, CallEvent.BOT_SILENT):
        if note.at >= start:
            over = note.what is CallEvent.BOT_SILENT
            return note.at - start if speaks and over else None
        speaks = note.what is CallEvent.BOT_SPEAKS
    return None


def _of(notes: list[Note], *kinds: CallEvent) -> list[Note]:
    return [note for note in notes if note.what in kinds]


def _last(notes: list[Note]) -> float | None:
    return notes[-1].at if notes else None


def _between(start: float | None, end: float | None) -> float | None:
    return end - start if start is not None and end is not None else None


def _standing_eager_end(turn: list[Note]) -> float | None:
    """Time of the eager end that the turn's end confirmed."""
    standing: float | None = None
    for note in turn:
        match note.what:
            case CallEvent.TURN_EAGER_END:
                standing = note.at
            case CallEvent.TURN_RESUME | CallEvent.TURN_START:
                standing = None
    return standing


def _ready(notes: list[Note], speaks: float | None) -> float | None:
    """Time at which the reply was ready that the bot spoke: the last one begun before."""
    begun = [n.at for n in _of(notes, CallEvent.REPLY_BEGUN) if speaks is None or n.at < speaks]
    ready = _of(notes, CallEvent.REPLY_READY)
    return next((note.at for note in ready if begun and note.at >= begun[-1]), None)


def _answer(journal: Journal, start: float, end: float) -> list[Note]:
    """The bot's answer to a line; an interruption is noted after the line that caused it."""
    ends = [note.at for note in journal.of(CallEvent.TURN_END)]
    this, following = (
        next((at for at in ends if at >= since), float("inf")) for since in (start, end)
    )
    finished = [n for n in journal.of(CallEvent.BOT_FINISHED) if start <= n.at < end]
    cut = [n for n in journal.of(CallEvent.BOT_INTERRUPTED) if this <= n.at < following]
    return sorted((n for n in finished + cut if n.text.strip()), key=lambda note: note.at)


def _checks(
    exchanges: Sequence[Exchange],
    lines: Sequence[Line],
    booked: list[dict[str, Any]],
    journal: Journal,
    today: date,
    *,
    local: bool,
) -> list[Check]:
    expected = expected_booking(today)
    got = {name: booked[-1].get(name) for name in expected} if booked else None
    count = len(exchanges)
    checks = [
        Check(
            "every line was played and recognized",
            _all_recognized(exchanges, lines),
            f"{count} lines",
        ),
        Check("the booking has every fact right", got == expected, json.dumps(got)),
        Check("the table was booked once", len(booked) == 1, f"{len(booked)} calls"),
    ]
    stopped = [e.bot_stopped for e in exchanges if e.interrupts]
    if any(line.interrupts is not None for line in lines):
        # A bot that finishes its sentence was not stopped.
        ok = bool(stopped) and all(s is not None and s < 1.5 for s in stopped)
        seen = ", ".join("never" if s is None else f"{s:.2f} s" for s in stopped) or "none"
        checks.append(Check("the interruption stopped the bot", ok, f"after {seen}"))
    checks.append(_ready_early(exchanges, local=local))
    early = _spoken_in_open_turns(journal)
    checks.append(
        Check(
            "nothing was spoken before its turn.end", not early, f"{early} times" if early else ""
        )
    )
    return checks


def _ready_early(exchanges: Sequence[Exchange], *, local: bool) -> Check:
    what = "a reply was ready before its turn.end"
    ahead = [e.ready_lead for e in exchanges if e.ready_lead is not None and e.ready_lead > 0]
    if ahead or not local or not _was_behind(exchanges):
        seen = f"{len(ahead)} of {len(exchanges)}, by up to {max(ahead, default=0.0):.2f} s"
        return Check(what, bool(ahead), seen)
    late = median(e.turn_end for e in exchanges if e.turn_end is not None)
    return Check(
        what,
        None,
        "this machine was too slow or too busy for the local recognizer: turn.end came "
        f"{late:.1f} s after the speech, and turn.eager_end together with it",
    )


def _was_behind(exchanges: Sequence[Exchange]) -> bool:
    """Whether the recognizer was late for most pauses."""
    ends = [e for e in exchanges if e.turn_end is not None]
    together = [e for e in ends if e.eager_lead is None or e.eager_lead < _SPACED]
    return bool(ends) and 2 * len(together) > len(ends)


def _all_recognized(exchanges: Sequence[Exchange], lines: Sequence[Line]) -> bool:
    return len(exchanges) == len(lines) and all(
        exchange.transcript.strip() for exchange in exchanges
    )


def _spoken_in_open_turns(journal: Journal) -> int:
    """Number of replies begun in an open turn that were audible before that turn ended."""
    kinds = (
        CallEvent.TURN_START,
        CallEvent.TURN_END,
        CallEvent.REPLY_BEGUN,
        CallEvent.BOT_SPEAKS,
    )
    is_open = is_speculative = False
    count = 0
    for note in journal.of(*kinds):
        match note.what:
            case CallEvent.TURN_START:
                is_open, is_speculative = True, False
            case CallEvent.TURN_END:
                is_open = False
            case CallEvent.REPLY_BEGUN:
                is_speculative = is_open
            case _:
                count += is_open and is_speculative
    return count
