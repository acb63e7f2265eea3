"""Assertions about a recorded call of a bot; their messages name the turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cartesia_ink_plugins.observe.reader import RecordedCall, RecordedMoment

# What a reply is told by, in the order of preference: the bot may have no voice, or no output.
_REPLIES = "bot_started", "tts_output", "llm_output"


@dataclass(frozen=True, slots=True)
class _Turn:
    """One turn of the user.

    Attributes:
        number: From 1.
        start: When it began, in seconds of the call.
        end: When it ended.
        until: When the next one began.
        speech_end: When its speech ended; None where that is not known.
        text: Its words.
        reply: When the reply began; None without one.
    """

    number: int
    start: float
    end: float
    until: float
    speech_end: float | None
    text: str
    reply: float | None


def assert_answered(call: RecordedCall) -> None:
    """Assert that every turn with words has a reply before the next turn ends.

    Args:
        call: What the bot did, as `ink_caller.play` returns it.

    Raises:
        AssertionError: Names the turns without one.
    """
    silent = [turn for turn in _turns(call) if turn.reply is None]
    lines = [f"turn {turn.number} {turn.text!r}, ended at {turn.end:.2f} s" for turn in silent]
    _fail("not answered", lines)


def assert_no_reply_before_turn_end(call: RecordedCall) -> None:
    """Assert that the bot never begins to speak while the user is in a turn.

    Raises:
        AssertionError: Names the turns, and when the bot began.
    """
    early = [
        f"turn {turn.number} {turn.text!r} from {turn.start:.2f} to {turn.end:.2f} s: "
        f"the bot began at {reply.t:.2f} s"
        for turn in _turns(call)
        for reply in _replies(call)
        if turn.start < reply.t < turn.end
    ]
    _fail("the bot spoke before turn.end", early)


def assert_interrupted_within(call: RecordedCall, seconds: float) -> None:
    """Assert that the bot stops in time when the user begins a turn while it speaks.

    Args:
        call: What the bot did.
        seconds: From the turn's start to the bot's silence, at most.

    Raises:
        AssertionError: The bot went on, or was never interrupted at all.
    """
    late, count = [], 0
    speaking: float | None = None
    for moment in sorted(call.of("bot_started", "bot_stopped", "event"), key=lambda m: m.t):
        match moment.kind:
            case "bot_started":
                speaking = moment.t
            case "bot_stopped":
                speaking = None
            case _ if moment.fields["event"] == "turn.start" and speaking is not None:
                count += 1
                stops = [m.t for m in call.of("bot_stopped") if m.t >= moment.t]
                if not stops or stops[0] - moment.t > seconds:
                    went_on = f"for {stops[0] - moment.t:.2f} s" if stops else "to the end"
                    late.append(
                        f"turn {moment.turn} at {moment.t:.2f} s: the bot went on {went_on}"
                    )
    _fail(f"not interrupted within {seconds} s", late)
    if not count:
        raise AssertionError("the user never began a turn while the bot spoke")


def assert_latency(call: RecordedCall, seconds: float) -> None:
    """Assert the latency of replies after the user's speech.

    Args:
        call: What the bot did.
        seconds: From the end of speech (of the turn, where that is not known) to the reply, at
            most.

    Raises:
        AssertionError: Names the turns that took longer.
    """
    slow = []
    for turn in _turns(call):
        since = turn.end if turn.speech_end is None else turn.speech_end
        if turn.reply is not None and turn.reply - since > seconds:
            slow.append(f"turn {turn.number} {turn.text!r}: {turn.reply - since:.2f} s")
    _fail(f"slower than {seconds} s", slow)


def _fail(problem: str, lines: list[str]) -> None:
    if lines:
        raise AssertionError("\n".join([f"{problem}:", *(f"  {line}" for line in lines)]))


def _replies(call: RecordedCall) -> list[RecordedMoment]:
    """Return when the bot began to reply, by the best evidence in the recording."""
    for kind in _REPLIES:
        if replies := list(call.of(kind)):
            return replies
    return []


def _turns(call: RecordedCall) -> Iterator[_Turn]:
    """Return the turns that have ended with text."""
    replies = _replies(call)
    events = [m for m in call.of("event") if m.fields["event"] in ("turn.start", "turn.end")]
    ends = [m for m in events if m.fields["event"] == "turn.end"]
    start = 0.0
    for moment in events:
        if moment.fields["event"] == "turn.start":
            start = moment.t
            continue
        text = str(moment.fields.get("transcript", "")).strip()
        if not text:
            continue
        until = min((end.t for end in ends if end.t > moment.t), default=float("inf"))
        reply = next((r.t for r in replies if moment.t <= r.t < until), None)
        speech_end = moment.fields.get("speech_end")
        yield _Turn(moment.turn, start, moment.t, until, speech_end, text, reply)
