"""The same for other programs: Perfetto, Audacity, players of video, whatever reads JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cartesia_ink_plugins.observe.timeline.happenings import threshold_text
from cartesia_ink_plugins.observe.timeline.latency import explanation, latencies
from cartesia_ink_plugins.observe.timeline.model import CallTimeline, Stretch

_LANES = ("turns", "predicted ends", "early replies", "bot", "connection", "audio", "thresholds")


def lane_stretches(timeline: CallTimeline) -> Iterator[tuple[str, Stretch]]:
    """Everything that happened, each with its lane; what happened at once has no length."""
    for turn in timeline.turns:
        name = f"turn {turn.number}"
        end = timeline.seconds if turn.end is None else turn.end
        yield "turns", Stretch(turn.start, end, f"{name}: {turn.text.strip()}")
        for instant in turn.eager_ends:
            told = f"{name} may have ended: {instant.text.strip()}"
            yield "predicted ends", Stretch(instant.t, instant.t, told)
        for t in turn.resumes:
            yield "predicted ends", Stretch(t, t, f"{name} went on")
        for reply in turn.replies:
            until = timeline.seconds if reply.end is None else reply.end
            told = ", ".join(filter(None, (f"{name}: {reply.outcome}", reply.tokens)))
            yield "early replies", Stretch(reply.start, until, told)
    for stretch in timeline.bot:
        yield "bot", stretch
    for instant in timeline.interruptions:
        yield "bot", Stretch(instant.t, instant.t, instant.text)
    for stretch in (*timeline.connections, *timeline.catching_up):
        yield "connection", stretch
    for instant in (*timeline.losses, *timeline.errors):
        yield "connection", Stretch(instant.t, instant.t, instant.text)
    for stretch in (*timeline.replayed, *timeline.silences, *timeline.gaps):
        yield "audio", stretch
    for t, thresholds in timeline.thresholds:
        yield "thresholds", Stretch(t, t, threshold_text(thresholds))


def perfetto(timeline: CallTimeline) -> str:
    """Chrome's trace format, which ui.perfetto.dev opens: a track for each lane."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": timeline.name}}
    ]
    for number, lane in enumerate(_LANES, 1):
        name = {"name": lane}
        events.append({"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": name})
    for lane, one in lane_stretches(timeline):
        event = {
            "name": one.text,
            "cat": lane,
            "pid": 1,
            "tid": _LANES.index(lane) + 1,
            "ts": round(1e6 * one.start),
        }
        if one.end > one.start:
            event |= {"ph": "X", "dur": round(1e6 * (one.end - one.start))}
        else:
            event |= {"ph": "i", "s": "t"}
        events.append(event)
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, ensure_ascii=False)


def audacity(timeline: CallTimeline) -> str:
    """A file of labels, which Audacity imports beside the recording's sound."""
    labels = sorted(
        (one.start, one.end, f"{lane}: {_one_line(one.text)}")
        for lane, one in lane_stretches(timeline)
    )
    return "".join(f"{start:.6f}\t{end:.6f}\t{text}\n" for start, end, text in labels)


def webvtt(timeline: CallTimeline) -> str:
    """Captions: what the caller said, and when the bot spoke."""
    cues = [
        (
            turn.start if turn.speech_start is None else turn.speech_start,
            timeline.seconds if turn.end is None else turn.end,
            f"<v Caller>{_cue_text(turn.text)}",
        )
        for turn in timeline.turns
        if turn.text.strip()
    ]
    cues += [(stretch.start, stretch.end, "<v Bot>(speaks)") for stretch in timeline.bot]
    written = [
        f"{_vtt_time(start)} --> {_vtt_time(max(end, start + 0.001))}\n{text}\n"
        for start, end, text in sorted(cues)
    ]
    return "\n".join(["WEBVTT\n", *written])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cue_text(text: str) -> str:
    plain = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return plain.replace(">", "&gt;")


def _vtt_time(seconds: float) -> str:
    thousandths = round(1000 * max(0.0, seconds))
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def as_json(timeline: CallTimeline) -> str:
    """All that is known, and the latencies with their explanations."""
    found = [
        {
            "turn": one.turn.number,
            "session": one.turn.session,
            "seconds": one.total,
            "parts": [{"what": what, "seconds": seconds} for what, seconds in one.parts],
            "explanation": explanation(one, timeline),
        }
        for one in latencies(timeline)
    ]
    return json.dumps(
        {**asdict(timeline), "latencies": found}, ensure_ascii=False, indent=1, default=dict
    )
