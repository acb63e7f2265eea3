"""Several calls on one page: percentiles over all turns, and a list."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cartesia_ink_plugins.observe.timeline.latency import Latency, latencies, percentile
from cartesia_ink_plugins.observe.timeline.model import CallTimeline
from cartesia_ink_plugins.observe.timeline.page import (
    clock,
    document,
    head,
    latency_table,
    seconds_text,
    slowest_section,
)

_PERCENTILES = (50, 90, 95, 99)


def calls_page(timelines: Sequence[CallTimeline]) -> str:
    """The page of several calls, without their sound.

    Args:
        timelines: In the order in which they are listed.
    """
    found = [one for timeline in timelines for one in latencies(timeline)]
    body = f"<h1>{len(timelines)} calls</h1>{_percentiles(found)}{_calls(timelines)}" + "".join(
        _details(number, timeline) for number, timeline in enumerate(timelines)
    )
    return document(f"{len(timelines)} calls - timeline", body)


def _percentiles(found: Sequence[Latency]) -> str:
    rows: list[tuple[str, list[float | None]]] = [
        ("the turn ended", [one.turn_end for one in found]),
        ("the LLM wrote", [_since(one, one.turn.llm_output) for one in found]),
        ("the voice was ready", [_since(one, one.turn.tts_output) for one in found]),
        ("the bot spoke", [one.total for one in found if one.is_whole]),
    ]
    head = "".join(f'<th scope="col" class="n">p{percent}</th>' for percent in _PERCENTILES)
    lines = ""
    for name, values in rows:
        known = [value for value in values if value is not None]
        cells = "".join(
            f'<td class="n">{seconds_text(percentile(known, percent))}</td>'
            for percent in _PERCENTILES
        )
        lines += f'<tr><th scope="row">{name}</th><td class="n">{len(known)}</td>{cells}</tr>'
    return (
        "<section><h2>Percentiles</h2><p class='dim'>Seconds from the end of the caller's speech, "
        "over the turns of all calls, as far as they are recorded.</p><div class='wide'>"
        "<table><thead>"
        f'<tr><th scope="col">Until</th><th scope="col" class="n">Turns</th>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></section>"
    )


def _since(latency: Latency, at: float | None) -> float | None:
    return None if at is None else max(0.0, at - latency.since)


def _calls(timelines: Sequence[CallTimeline]) -> str:
    names = ("Length", "Turns", "Median reply", "Slowest reply", "Not used", "Lost", "Given up")
    head = "".join(f'<th scope="col" class="n">{name}</th>' for name in names)
    rows = "".join(_row(number, timeline) for number, timeline in enumerate(timelines))
    return (
        "<section><h2>Calls</h2><div class='wide'><table><thead>"
        f'<tr><th scope="col">Call</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def _row(number: int, timeline: CallTimeline) -> str:
    totals = [one.total for one in latencies(timeline) if one.is_whole]
    replies = [reply for turn in timeline.turns for reply in turn.replies]
    cells = [
        clock(timeline.seconds),
        str(len(timeline.turns)),
        seconds_text(percentile(totals, 50)),
        seconds_text(max(totals, default=None)),
        str(sum(reply.is_unused for reply in replies)),
        str(len(timeline.losses)),
        f"{sum(gap.end - gap.start for gap in timeline.gaps):.1f} s",
    ]
    numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    return f'<tr><td><a href="#call{number}">{escape(timeline.name)}</a></td>{numbers}</tr>'


def _details(number: int, timeline: CallTimeline) -> str:
    return (
        f'<article id="call{number}">{head(timeline, 2)}{slowest_section(timeline, 3)}'
        f"{latency_table(timeline, 3, plays=False)}</article>"
    )
