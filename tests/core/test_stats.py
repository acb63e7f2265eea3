"""The numbers of a session add up, at any time and whatever happens."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.events import AudioGap, ErrorMessage
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stats import ByteCounts, Snapshot, UsageMeter, Violations, snapshot
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import Outage, Reset, Say, Silence
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Timed, Trouble, World

SCRIPT = Script("Hello there.", "I'd like a table ... for two people.", "Yes.")
EMPTY = snapshot(ByteCounts(), AudioFormat(), turns=0, violations=Violations())


@pytest.mark.parametrize(
    "faults",
    [
        (),
        (Timed(2.0, Reset()),),
        (Timed(1.0, Outage(4.0)),),
        (Timed(3.0, Silence()),),
        (
            Timed(2.0, Say(ErrorMessage(500, "the script says so"), Close(1011))),
            Timed(4.0, Reset()),
        ),
    ],
)
@pytest.mark.parametrize("replay_buffer", [60.0, 2.0])
def test_every_second_is_sent_or_waits_or_is_lost(
    faults: tuple[Trouble, ...], replay_buffer: float
) -> None:
    resilience = Resilience(replay_buffer_seconds=replay_buffer)
    world = World(SCRIPT, faults, resilience=resilience)
    taken: list[Snapshot] = []

    def take() -> None:
        taken.append(world.session.snapshot())

    for tenth in range(150):
        world.at(tenth / 10, partial(take))
    world.run()
    take()
    for shot in taken:
        assert shot.received == pytest.approx(shot.sent + shot.pending + shot.lost)
        assert min(shot.sent, shot.pending, shot.lost, shot.replayed, shot.silence) >= 0
    last = taken[-1]
    assert last.pending == 0
    gaps = [event.seconds for event in world.events if isinstance(event, AudioGap)]
    assert sum(gaps) == pytest.approx(last.lost)
    assert last.connections >= 1
    assert last.protocol_violations == {}
    if replay_buffer == 60.0:
        assert last.lost == 0
        assert last.turns == len(SCRIPT.turns)


class TestSnapshot:
    def test_bytes_are_counted_as_seconds_of_audio(self) -> None:
        audio = AudioFormat(Encoding.PCM_MULAW, 8000)
        counts = ByteCounts(
            received=80_000, sent=40_000, replayed=8000, lost=16_000, silence=4000, connections=3
        )
        shot = snapshot(counts, audio, turns=7, violations=Violations())
        assert shot == Snapshot(
            received=10.0,
            sent=5.0,
            pending=3.0,
            lost=2.0,
            replayed=1.0,
            silence=0.5,
            connections=3,
            turns=7,
        )

    def test_the_server_received_what_was_sent_and_replayed_and_silence(self) -> None:
        assert replace(EMPTY, sent=5.0, replayed=1.0, silence=0.5, lost=2.0).billed == 6.5

    def test_it_does_not_change_with_the_session(self) -> None:
        violations = Violations()
        violations.count("one")
        shot = snapshot(ByteCounts(), AudioFormat(), turns=0, violations=violations)
        violations.count("one")
        assert shot.protocol_violations == {"one": 1}


class TestUsageMeter:
    def test_it_gives_the_seconds_since_the_last_call(self) -> None:
        meter = UsageMeter()
        assert meter.take(replace(EMPTY, sent=2.0)) == 2.0
        assert meter.take(replace(EMPTY, sent=2.0, replayed=1.0)) == 1.0
        assert meter.take(replace(EMPTY, sent=2.0, replayed=1.0)) == 0.0

    def test_it_can_continue_from_what_was_reported_already(self) -> None:
        meter = UsageMeter(reported=1.5)
        assert meter.take(replace(EMPTY, sent=2.0)) == 0.5

    def test_another_session_with_less_gives_nothing_negative(self) -> None:
        meter = UsageMeter(reported=5.0)
        assert meter.take(replace(EMPTY, sent=2.0)) == 0.0
        assert meter.take(replace(EMPTY, sent=3.0)) == 1.0

    @given(st.lists(st.floats(0, 100), max_size=20))
    def test_nothing_is_reported_twice_or_left_out(self, seconds: list[float]) -> None:
        meter, sent, reported = UsageMeter(), 0.0, 0.0
        for more in seconds:
            sent += more
            reported += meter.take(replace(EMPTY, sent=sent))
        assert reported == pytest.approx(sent)


class TestViolations:
    def test_each_kind_is_counted_and_only_its_first_is_new(self) -> None:
        violations = Violations()
        assert violations.count("not JSON") is True
        assert violations.count("not JSON") is False
        assert violations.count("no type") is True
        assert violations == {"not JSON": 2, "no type": 1}
