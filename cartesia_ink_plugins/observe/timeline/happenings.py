"""What happened in a call as lines of text, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cartesia_ink_plugins.observe.timeline.model import CallTimeline, Instant, Turn


def happenings(timeline: CallTimeline) -> list[Instant]:
    """Everything that happened, in order, a line for each."""
    return sorted(_happenings(timeline), key=lambda instant: instant.t)


def _happenings(timeline: CallTimeline) -> Iterator[Instant]:
    for turn in timeline.turns:
        yield from _of_turn(turn)
    for stretch in timeline.bot:
        yield Instant(stretch.start, "the bot began to speak")
        yield Instant(stretch.end, "the bot stopped speaking")
    for stretch in timeline.connections:
        yield Instant(stretch.start, f"{stretch.text.partition(',')[0]} opened")
    for stretch in (*timeline.catching_up, *timeline.silences, *timeline.gaps):
        yield Instant(stretch.start, stretch.text)
    yield from (*timeline.interruptions, *timeline.losses, *timeline.errors)
    for t, thresholds in timeline.thresholds:
        yield Instant(t, f"thresholds: {threshold_text(thresholds)}")


def threshold_text(thresholds: Mapping[str, float]) -> str:
    """Thresholds in words."""
    told = [
        f"{name} {value:g} ms" if name == "timeout" else f"{name} {value:g}"
        for name, value in thresholds.items()
    ]
    return ", ".join(told) or "the server's defaults"


def _of_turn(turn: Turn) -> Iterator[Instant]:
    name = f"turn {turn.number}"
    yield Instant(turn.start, f"{name} began")
    for instant in turn.eager_ends:
        yield Instant(instant.t, f"{name} may have ended: {instant.text!r}")
    for t in turn.resumes:
        yield Instant(t, f"{name} went on")
    for reply in turn.replies:
        yield Instant(reply.start, f"a reply to {name} was begun early")
        if reply.end is not None:
            tokens = f" ({reply.tokens})" if reply.tokens else ""
            yield Instant(reply.end, f"the reply to {name} was {reply.outcome}{tokens}")
    if turn.end is not None:
        yield Instant(turn.end, f"{name} ended: {turn.text!r}")
