"""How long the caller waited for a reply, of what that was made, and why some replies were slow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cartesia_ink_plugins.observe.timeline.model import CallTimeline, Turn

SLOWEST = 3
_SHARE = 0.05  # seconds below which a part is not worth a word

_PARTS = (
    ("end", "the server waited for silence", " until the turn ended"),
    ("llm_output", "the LLM", " until the LLM wrote"),
    ("tts_output", "the voice", " until the voice was ready"),
    ("bot_started", "the way to the caller", ""),
)
"""The steps to a reply: the attribute of a turn, what took the time, and until when that is."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The wait for the reply to a turn, in seconds from the end of the caller's speech.

    Attributes:
        turn: The turn.
        since: From when on: the end of speech, or of the turn where that is not known.
        parts: Each with what it was spent on; together they are the total.
        total: Until the bot spoke, or until the last step that is known.
        until: Which step that is, as the end of a sentence; empty if the bot spoke.
    """

    turn: Turn
    since: float
    parts: tuple[tuple[str, float], ...]
    total: float
    until: str

    @property
    def is_whole(self) -> bool:
        """Whether it is known when the bot spoke."""
        return not self.until

    @property
    def turn_end(self) -> float | None:
        """Seconds from the end of speech to the end of the turn; None where one is not known."""
        turn = self.turn
        if turn.end is None or turn.speech_end is None:
            return None
        return turn.end - turn.speech_end


def latency_of(turn: Turn) -> Latency | None:
    """The latency of a turn; None where neither its end nor a reply is known.

    The parts follow each other: what was ready before the part before it took no time.
    """
    since = turn.speech_end if turn.speech_end is not None else turn.end
    if since is None:
        return None
    steps = [(at, *told) for name, *told in _PARTS if (at := getattr(turn, name)) is not None]
    if not steps or steps[-1][0] < since:
        return None
    last, _, until = steps[-1]
    parts, reached = [], since
    for step, what, _ in steps:
        at = min(max(step, reached), last)
        if at > reached:
            parts.append((what, at - reached))
        reached = at
    return Latency(turn, since, tuple(parts), last - since, until)


def latencies(timeline: CallTimeline) -> list[Latency]:
    """The latencies of a call, in order: of the replies, or of the turns where none is known."""
    found = [one for turn in timeline.turns if (one := latency_of(turn)) is not None]
    return [one for one in found if one.is_whole] or found


def slowest(timeline: CallTimeline) -> list[Latency]:
    """The turns with the slowest replies, the slowest first."""
    return sorted(latencies(timeline), key=lambda one: -one.total)[:SLOWEST]


def explanation(latency: Latency, timeline: CallTimeline) -> str:
    """Say in a sentence why a reply came when it came."""
    sentence = f"turn {latency.turn.number}: {latency.total:.1f} s{latency.until}"
    parts = [f"{seconds:.1f} s {what}" for what, seconds in latency.parts if seconds >= _SHARE]
    if parts:
        sentence += f", of which {', '.join(parts)}"
    since, until = latency.since, latency.since + latency.total
    if any(since <= loss.t <= until for loss in timeline.losses):
        sentence += "; the connection was lost meanwhile"
    if any(one.start < until and one.end > since for one in timeline.catching_up):
        sentence += "; kept audio was sent again meanwhile"
    withdrawn = [r for r in latency.turn.replies if r.is_unused]
    if withdrawn:
        count = "a reply" if len(withdrawn) == 1 else f"{len(withdrawn)} replies"
        sentence += f"; {count} begun early could not be used"
    return sentence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value below which so many percent are; None of no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
