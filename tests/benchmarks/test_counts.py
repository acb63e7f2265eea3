"""The counts of a stream: what is counted, and that it does not depend on the machine."""

from __future__ import annotations

from benchmarks.counts import measure, report


def test_what_a_stream_takes_is_counted_and_the_same_each_time() -> None:
    first, second = measure("livekit", "floor", 2), measure("livekit", "floor", 2)
    assert first == second
    assert 20.0 <= first["writes"] <= 21.0  # frames of 50 ms
    assert 2.0 <= first["reads"] <= 3.0  # messages, 2.5 a second
    assert first["hops"] > 0
    assert first["way"] > 50  # as many calls take the event loop, websockets and LiveKit's channel
    assert first["calls"]["websockets"] > 0
    assert "ink core" not in first["calls"]


def test_the_table_has_a_row_for_each_layer_and_compares_ours() -> None:
    row = {"writes": 50.0, "reads": 2.5, "passes": 300.0, "hops": 4, "way": 90}
    sides = {
        "built-in": {"calls": {"pipecat": 80.0}, **row},
        "ours": {"calls": {"pipecat": 30.0, "ink core": 10.0}, **row},
    }
    lines = [line.split() for line in report("pipecat", sides).splitlines()]
    assert lines[0] == ["pipecat", "built-in", "ours"]
    assert ["calls,", "ink", "core", "0.0", "10.0"] in lines
    assert ["calls", "80.0", "40.0"] in lines
    assert lines[-1] == ["ours", "/", "built-in:", "calls", "0.50"]
