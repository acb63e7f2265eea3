"""One call as one HTML file, which asks no network for anything.

Everything is written here, so that it can be read, printed and found without a script; the script
only plays and zooms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np

from cartesia_ink_plugins.observe.reader import RecordedAudio
from cartesia_ink_plugins.observe.timeline import sound as sounds
from cartesia_ink_plugins.observe.timeline.happenings import happenings, threshold_text
from cartesia_ink_plugins.observe.timeline.latency import (
    Latency,
    explanation,
    latencies,
    percentile,
    slowest,
)
from cartesia_ink_plugins.observe.timeline.model import (
    CallTimeline,
    Instant,
    Stretch,
    Turn,
)

_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)  # seconds between two marks of the axis
_MOST_TICKS = 24
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "media-src blob:; img-src data:"
)


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def document(title: str, body: str, script: str = "") -> str:
    """A whole page.

    Args:
        title: Plain text.
        body: HTML.
        script: What runs in it.
    """
    code = f"<script>{script}</script>" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head>\n"
        f"<body><main>{body}</main>{code}</body></html>\n"
    )


def call_page(timeline: CallTimeline, sound: RecordedAudio | None = None) -> str:
    """The page of one call.

    Args:
        timeline: What happened.
        sound: What was heard; without it the page is silent.
    """
    body = "\n".join(
        [
            head(timeline),
            _controls(sound),
            _chart(timeline, sound),
            slowest_section(timeline),
            latency_table(timeline),
            _list(timeline),
            _sound_data(sound),
        ]
    )
    return document(f"{timeline.name} - timeline", body, _asset("page.js"))


def head(timeline: CallTimeline, level: int = 1) -> str:
    """The name of a call, and its figures in two lines."""
    began = datetime.fromtimestamp(timeline.epoch, UTC)
    known = latencies(timeline)
    median = percentile([one.total for one in known if one.is_whole], 50)
    replies = [reply for turn in timeline.turns for reply in turn.replies]
    wasted = sum(reply.is_unused for reply in replies)
    figures = [
        _count(len(timeline.turns), "turn"),
        f"median time to the reply {seconds_text(median)}" if median is not None else "",
        f"{_count(len(replies), 'early reply', 'early replies')}, {wasted} not used",
        _count(len(timeline.interruptions), "interruption"),
        _count(len(timeline.losses), "lost connection"),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in timeline.versions.items())
    cut = "" if timeline.is_complete else '<p class="bad">The recording was cut off.</p>'
    return (
        f"<h{level}>{escape(timeline.name)}</h{level}>"
        f"<p>{began:%Y-%m-%d %H:%M:%S} UTC, {clock(timeline.seconds)} long: "
        f"{escape('; '.join(filter(None, figures)))}.</p>"
        f'<p class="dim">{escape(versions)}</p>{cut}'
    )


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or f'{one}s'}"


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, such as `1:02.3`."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 // 10:02}.{tenths % 10}"


def seconds_text(seconds: float | None) -> str:
    """Seconds with two digits; a dash where they are not known."""
    return "\N{EN DASH}" if seconds is None else f"{seconds:.2f} s"


def _controls(sound: RecordedAudio | None) -> str:
    player = "<audio controls></audio>"
    if sound is None:
        player = '<audio hidden></audio><span class="dim">without sound</span>'
    return (
        f'<div class="bar">{player}<button id="in" aria-label="zoom in">+</button>'
        '<button id="out" aria-label="zoom out">\N{MINUS SIGN}</button>'
        '<span class="dim hide">click: play from there; space, arrows: play; +, \N{MINUS SIGN}: '
        "zoom; n, p: next, previous turn</span></div>"
    )


# --- the chart ------------------------------------------------------------------------------------


class _Lanes:
    """Places stretches on the lanes of a call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(seconds, 0.1)

    def percent(self, seconds: float) -> str:
        share = 100 * min(max(seconds, 0.0), self.seconds) / self.seconds
        return f"{share:.3f}".rstrip("0").rstrip(".")

    def stretch(self, start: float, end: float, kind: str, told: str, text: str = "") -> str:
        """A button that is as wide as something took."""
        left, width = self.percent(start), self.percent(max(0.0, end - max(start, 0.0)))
        name = escape(told, quote=True)
        return (
            f'<button class="i {kind}" style="left:{left}%;width:{width}%" data-t="{start:.2f}" '
            f'title="{name}" aria-label="{name}">{escape(text)}</button>'
        )

    def instant(self, t: float, kind: str, told: str) -> str:
        """A mark."""
        name = escape(told, quote=True)
        return (
            f'<button class="i at {kind}" style="left:{self.percent(t)}%" data-t="{t:.2f}" '
            f'title="{name}" aria-label="{name}"></button>'
        )


def _lane(name: str, items: Iterable[str], kind: str = "", *, may_be_left_out: bool = False) -> str:
    written = "".join(items)
    if may_be_left_out and not written:
        return ""
    return f'<div class="lane {kind}" role="group" aria-label="{name}"><b>{name}</b>{written}</div>'


def _chart(timeline: CallTimeline, sound: RecordedAudio | None) -> str:
    lanes = _Lanes(timeline.seconds)
    rows = [
        _axis(lanes),
        _lane("caller", _waveform(lanes, sound, 0), "high"),
        _lane("turns", (_turn(lanes, turn, timeline) for turn in timeline.turns), "turns"),
        _lane("predicted ends", _predictions(lanes, timeline), "low", may_be_left_out=True),
        _lane("early replies", _replies(lanes, timeline), "low", may_be_left_out=True),
        _lane("bot", [*_waveform(lanes, sound, 1), *_bot(lanes, timeline)], "high bot"),
        _lane("connection", _connections(lanes, timeline)),
        *(
            _lane(name, _stretches(lanes, found, kind), "low", may_be_left_out=True)
            for name, found, kind in (
                ("audio sent again", timeline.replayed, "wait"),
                ("silence put in", timeline.silences, "turn"),
                ("audio given up", timeline.gaps, "bad"),
            )
        ),
        _lane("thresholds", _thresholds(lanes, timeline), "step"),
    ]
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="timeline">'
        f'<div class="call" data-seconds="{lanes.seconds:.3f}">{"".join(rows)}'
        '<div class="now"></div></div></div>'
    )


def _axis(lanes: _Lanes) -> str:
    step = next((one for one in _TICKS if lanes.seconds / one <= _MOST_TICKS), _TICKS[-1])
    marks = [
        f'<span style="left:{lanes.percent(t)}%">{t // 60}:{t % 60:02}</span>'
        for t in range(0, math.ceil(lanes.seconds), step)
    ]
    return f'<div class="lane low axis" aria-hidden="true">{"".join(marks)}</div>'


def _waveform(lanes: _Lanes, sound: RecordedAudio | None, channel: int) -> Iterator[str]:
    if sound is None:
        return
    samples = (sound.caller, sound.bot)[channel]
    peaks = sounds.loudness(samples, sound.sample_rate)
    if not len(peaks) or not peaks.any():
        return
    heights = np.ceil(49 * np.sqrt(peaks)).astype(int).tolist()
    path = "".join(f"M{x} {50 - h}V{50 + h}" for x, h in enumerate(heights) if h)
    length = len(samples) / sound.sample_rate
    place = f"left:{lanes.percent(sound.start)}%;width:{lanes.percent(length)}%"
    yield (
        f'<svg viewBox="0 0 {len(heights)} 100" preserveAspectRatio="none" style="{place}" '
        f'aria-hidden="true"><path d="{path}"/></svg>'
    )


def _turn(lanes: _Lanes, turn: Turn, timeline: CallTimeline) -> str:
    start = turn.start if turn.speech_start is None else min(turn.start, turn.speech_start)
    end = timeline.seconds if turn.end is None else turn.end
    told = f"turn {turn.number}: {turn.text.strip() or '(no text)'}"
    if turn.end is None:
        told += " (not ended)"
    return lanes.stretch(start, end, "turn", told, f"{turn.number} {turn.text.strip()}")


def _predictions(lanes: _Lanes, timeline: CallTimeline) -> Iterator[str]:
    for turn in timeline.turns:
        for instant in turn.eager_ends:
            told = f"turn {turn.number} may have ended: {instant.text.strip()}"
            yield lanes.instant(instant.t, "eager", told)
        for t in turn.resumes:
            yield lanes.instant(t, "bad", f"turn {turn.number} went on")


def _replies(lanes: _Lanes, timeline: CallTimeline) -> Iterator[str]:
    for turn in timeline.turns:
        for reply in turn.replies:
            end = timeline.seconds if reply.end is None else reply.end
            outcome = reply.outcome or "not decided"
            tokens = f", {reply.tokens}" if reply.tokens else ""
            told = f"early reply to turn {turn.number} {outcome}{tokens}"
            yield lanes.stretch(reply.start, end, reply.outcome or "wait", told, outcome)


def _bot(lanes: _Lanes, timeline: CallTimeline) -> Iterator[str]:
    for stretch in timeline.bot:
        told = f"the bot speaks for {stretch.end - stretch.start:.1f} s"
        yield lanes.stretch(stretch.start, stretch.end, "bot", told)
    for instant in timeline.interruptions:
        yield lanes.instant(instant.t, "bad", instant.text)


def _stretches(lanes: _Lanes, found: Sequence[Stretch], kind: str) -> Iterator[str]:
    for one in found:
        yield lanes.stretch(one.start, one.end, kind, one.text)


def _instants(lanes: _Lanes, found: Sequence[Instant], kind: str) -> Iterator[str]:
    for one in found:
        yield lanes.instant(one.t, kind, one.text)


def _connections(lanes: _Lanes, timeline: CallTimeline) -> Iterator[str]:
    yield from _stretches(lanes, timeline.connections, "open")
    yield from _stretches(lanes, timeline.catching_up, "wait")
    yield from _instants(lanes, timeline.losses, "bad")
    yield from _instants(lanes, timeline.errors, "bad")


def _thresholds(lanes: _Lanes, timeline: CallTimeline) -> Iterator[str]:
    steps = timeline.thresholds
    paths = []
    for name in ("start", "eager end", "end"):
        path, height = "", None
        for t, values in steps:
            x = lanes.percent(t)
            if (value := values.get(name)) is None:
                path += f"H{x}" if height is not None else ""
                height = None
                continue
            before = f"H{x}" if height is not None else f"M{x} {100 - 100 * value:g}"
            path, height = f"{path}{before}V{100 - 100 * value:g}", value
        paths.append(path + ("H100" if height is not None else ""))
    drawn = "".join(f'<path d="{path}"/>' for path in paths if path)
    if drawn:
        yield (
            '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
            f"{drawn}</svg>"
        )
    ends = [*(t for t, _ in steps[1:]), timeline.seconds]
    for (t, values), end in zip(steps, ends, strict=True):
        told = threshold_text(values)
        yield lanes.stretch(t, end, "set", f"thresholds: {told}", told)


# --- the tables -----------------------------------------------------------------------------------


def slowest_section(timeline: CallTimeline, level: int = 2) -> str:
    """The slowest replies, a sentence for each."""
    found = slowest(timeline)
    if not found:
        return ""
    sentences = "".join(f"<li>{escape(explanation(one, timeline))}.</li>" for one in found)
    return f"<section><h{level}>The slowest turns</h{level}><ul>{sentences}</ul></section>"


def latency_table(timeline: CallTimeline, level: int = 2, *, plays: bool = True) -> str:
    """The latencies of all turns, from the end of the caller's speech."""
    known = {id(one.turn): one for one in latencies(timeline)}
    rows = "".join(_row(turn, known.get(id(turn)), plays=plays) for turn in timeline.turns)
    return (
        f"<section><h{level}>Turns</h{level}><p class='dim'>Seconds from the end of the caller's "
        "speech, as far as they are recorded.</p><div class='wide'><table><thead><tr>"
        '<th scope="col">Turn</th><th scope="col">At</th><th scope="col">Text</th>'
        '<th scope="col" class="n">Turn ended</th><th scope="col" class="n">LLM</th>'
        '<th scope="col" class="n">Voice</th><th scope="col" class="n">Bot spoke</th>'
        '<th scope="col">Early replies</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _row(turn: Turn, latency: Latency | None, *, plays: bool) -> str:
    since = latency.since if latency is not None else turn.speech_end
    times = [
        None if at is None or since is None else at - since
        for at in (turn.end, turn.llm_output, turn.tts_output)
    ]
    cells = [*times, latency.total if latency is not None and latency.is_whole else None]
    replies = ", ".join(
        f"{reply.outcome or 'not decided'}{f' ({reply.tokens})' if reply.tokens else ''}"
        for reply in turn.replies
    )
    at = clock(turn.start)
    if plays:
        at = f'<button data-t="{turn.start:.2f}" aria-label="play turn {turn.number}">{at}</button>'
    numbers = "".join(f'<td class="n">{seconds_text(cell)}</td>' for cell in cells)
    return (
        f"<tr><td>{turn.number}</td><td>{at}</td><td>{escape(turn.text.strip())}</td>"
        f"{numbers}<td class='r'>{escape(replies)}</td></tr>"
    )


def _list(timeline: CallTimeline) -> str:
    lines = "".join(
        f'<li><button data-t="{one.t:.2f}">{clock(one.t)}</button> {escape(one.text)}</li>'
        for one in happenings(timeline)
    )
    return f'<section><h2>What happened</h2><ol class="what">{lines}</ol></section>'


def _sound_data(sound: RecordedAudio | None) -> str:
    steps = ",".join(map(str, sounds.STEPS.tolist()))
    data = f'<script id="steps" type="text/plain">{steps}</script>'
    if sound is None:
        return data
    return (
        f'{data}<script id="sound" type="text/plain" data-start="{sound.start:.3f}">'
        f"{sounds.embedded(sound)}</script>"
    )
