"""The formats of other programs have everything that happened."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.exports import (
    as_json,
    audacity,
    lane_stretches,
    perfetto,
    webvtt,
)
from cartesia_ink_plugins.observe.timeline.model import CallTimeline, build_timeline
from tests.observe.timeline.planted import Planted, eventful_call


@pytest.fixture
def eventful(tmp_path: Path) -> CallTimeline:
    return build_timeline(read_recording(eventful_call().write(tmp_path / "call.ink")))


def test_perfetto_has_a_track_for_each_lane(eventful: CallTimeline) -> None:
    events = json.loads(perfetto(eventful))["traceEvents"]
    tracks = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    placed = [one for one in events if one["ph"] in ("X", "i")]
    assert len(placed) == len(list(lane_stretches(eventful)))
    for one in placed:
        assert tracks[one["tid"]] == one["cat"]
        assert (one["ph"] == "X") is (one.get("dur", 0) > 0)
    [turn] = [one for one in placed if one["name"] == "turn 2: a table for two"]
    assert (turn["ts"], turn["dur"]) == (8_000_000, 3_100_000)


def test_audacity_has_a_label_for_each(eventful: CallTimeline) -> None:
    lines = audacity(eventful).splitlines()
    assert len(lines) == len(list(lane_stretches(eventful)))
    assert all(re.fullmatch(r"\d+\.\d{6}\t\d+\.\d{6}\t[^\t]+", line) for line in lines)
    assert "8.000000\t11.100000\tturns: turn 2: a table for two" in lines


def test_webvtt_has_captions_of_both(eventful: CallTimeline) -> None:
    text = webvtt(eventful)
    assert text.startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n<v Bot>(speaks)\n")
    assert "00:00:02.800 --> 00:00:06.400\n<v Caller>Hello &lt;there&gt;\n" in text
    times = re.findall(r"^(\S+) --> (\S+)$", text, re.M)
    assert len(times) == 4 + 4
    assert all(start < end for start, end in times)


def test_webvtt_of_words_with_line_ends_stays_whole(tmp_path: Path) -> None:
    call = Planted()
    call.simple_turn(3700.0, "a\n\nb --> c", reply=None)
    made = build_timeline(read_recording(call.write(tmp_path / "call.ink")))
    assert webvtt(made) == ("WEBVTT\n\n01:01:39.800 --> 01:01:42.000\n<v Caller>a b --&gt; c\n")


def test_json_has_all_that_is_known(eventful: CallTimeline) -> None:
    values = json.loads(as_json(eventful))
    assert values["turns"][0]["replies"][0]["outcome"] == "withdrawn"
    assert [one["turn"] for one in values["latencies"]] == [1, 2, 3]
    assert values["latencies"][1]["explanation"].startswith("turn 2: 1.9 s")
    assert values["versions"] == {"cartesia-ink-plugins": "0.1.0"}
