"""When faults strike and how they are written: no IO, no clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.fault_plan import FaultPlan, OneWayLink
from cartesia_ink_plugins.server.fault_text import format_fault, parse_fault
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    At,
    Deaf,
    Fault,
    Fin,
    HalfOpen,
    Latency,
    NoPongs,
    Outage,
    Refuse,
    Reset,
    Say,
    Silence,
)
from tests.random_faults import random_faults


def test_a_fault_strikes_at_its_count_and_once() -> None:
    plan = FaultPlan([Fault(Reset(), At("turn.update", 2))])
    first, second = plan.connection(), plan.connection()
    first.reach("turn.update", 0.0)
    assert first.due(0.0) == []
    first.reach("turn.update", 1.0)
    assert first.due(1.0) == [Reset()]
    for _ in range(3):
        second.reach("turn.update", 2.0)
    assert second.due(9.0) == []


def test_a_fault_may_strike_several_times_but_once_on_a_connection() -> None:
    plan = FaultPlan([Fault(Reset(), At("connect"), times=2), Fault(Fin(), At("connect"), None)])
    struck: list[list[Action]] = []
    for _ in range(4):
        faults = plan.connection()
        faults.reach("connect", 0.0)
        faults.reach("connect", 0.0)
        struck.append(faults.due(0.0))
    assert struck == [[Reset(), Fin()], [Reset(), Fin()], [Fin()], [Fin()]]


def test_before_and_after() -> None:
    plan = FaultPlan([Fault(Fin(), At("turn.end", before=True)), Fault(Reset(), At("turn.end"))])
    faults = plan.connection()
    faults.approach("turn.end", 0.0)
    assert faults.due(0.0) == [Fin()]
    faults.reach("turn.end", 0.0)
    assert faults.due(0.0) == [Reset()]


def test_delays_and_times_wait_their_turn() -> None:
    plan = FaultPlan(
        [
            Fault(Reset(), At("seconds", 5)),
            Fault(Fin(), At("connected", delay=2)),
            Fault(NoPongs(), At("audio", 1.5)),
        ]
    )
    faults = plan.connection()
    faults.reach("upgrade", 10.0)
    faults.reach("connected", 11.0)
    assert faults.next_time == 13.0
    assert faults.limit("audio") == 1.5
    faults.measure("audio", 1.4, 12.0)
    faults.measure("audio", 1.5, 12.5)
    assert faults.limit("audio") == FOREVER
    assert faults.due(12.9) == [NoPongs()]
    assert faults.due(13.0) == [Fin()]
    assert faults.due(15.0) == [Reset()]
    assert faults.next_time is None


def test_one_seed_is_one_story() -> None:
    def when(seed: int) -> float | None:
        faults = FaultPlan([Fault(Reset(), At("connect", spread=9.0))], seed).connection()
        faults.reach("connect", 0.0)
        return faults.next_time

    assert when(1) == when(1) != when(2)
    assert random_faults(7, seconds=30) == random_faults(7, seconds=30)
    assert random_faults(7, seconds=30) != random_faults(8, seconds=30)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5000)), max_size=30),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([FOREVER, 1000.0, 32_000.0]),
    st.sampled_from([0.0, 0.3]),
)
def test_a_link_keeps_the_order_and_never_delivers_early(
    sent: list[tuple[float, int]], latency: float, jitter: float, rate: float, join: float
) -> None:
    link = OneWayLink(random.Random(1), latency, jitter, rate, join=join)
    now = last = 0.0
    for wait, size in sent:
        now += wait
        due = link.arrival(now, size)
        assert due >= max(last, now + latency + size / rate - 1e-9)
        assert due <= max(
            last, now + sum(s for _, s in sent) / rate + latency + jitter + join + 1e-9
        )
        last = due


def test_a_blocked_link_delivers_afterwards() -> None:
    link = OneWayLink(random.Random(1), blocked_until=5.0)
    assert link.arrival(1.0, 10) == 5.0
    assert link.arrival(6.0, 10) == 6.0
    link.blocked_until = FOREVER
    assert link.arrival(7.0, 10) == FOREVER


WRITTEN = {
    "reset@turn.update:2": Fault(Reset(), At("turn.update", 2)),
    "fin<turn.end": Fault(Fin(), At("turn.end", before=True)),
    "close=1012,maintenance@turn.end": Fault(Close(1012, "maintenance"), At("turn.end")),
    "close=1011@audio:3.5": Fault(Close(1011), At("audio", 3.5)),
    "refuse=503,2@connect*3": Fault(Refuse(503, 2), times=3),
    "refuse=429@connect": Fault(Refuse(429)),
    "silence=6@turn.start+0.2~0.5": Fault(Silence(6), At("turn.start", delay=0.2, spread=0.5)),
    "silence=ever,no@connected": Fault(Silence(FOREVER, False), At("connected")),
    "latency=0.1,0.05@connect*always": Fault(Latency(0.1, 0.05), times=None),
    "half-open@seconds:1#0": Fault(HalfOpen(), At("seconds", 1), connection=0),
    "outage=14,-1@bytes:32000": Fault(Outage(14, -1), At("bytes", 32000)),
    "say=malformed@turn.start": Fault(Say("malformed"), At("turn.start")),
    "deaf@connect": Fault(Deaf()),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_faults_in_one_line(text: str) -> None:
    assert parse_fault(text) == WRITTEN[text]
    assert format_fault(WRITTEN[text]) == text


@pytest.mark.parametrize("seed", range(200))
def test_what_is_drawn_can_be_written_down_and_read(seed: int) -> None:
    for fault in random_faults(seed, seconds=30):
        read = parse_fault(format_fault(fault))
        assert type(read.action) is type(fault.action)
        assert format_fault(read) == format_fault(fault)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not like"),
        ("explode@connect", "'explode' is not one of refuse, reset"),
        ("reset@noon", "'noon' is not one of connect"),
        ("reset=1@connect", "reset takes nothing"),
        ("close=many@connect", "close takes code, reason"),
        ("close@seconds:1.2.3", "an invalid number"),
        ("latency@connect", "latency takes seconds, jitter"),
        ("say=boo@connect", "say one of malformed"),
        ("refuse=503@turn.start", "only at connect"),
        ("refuse=200@connect", "200 is not an HTTP status"),
        ("close=99999@turn.start", "99999 is not a close code"),
        ("reset@turn.update:2*0", "1 or more"),
        ("throttle=0@connect", "above 0 bytes"),
        ("latency=-1@connect", "must not be below 0"),
        ("silence=-1@connect", "must not be below 0"),
        ("silence=nan@connect", "must not be below 0"),
        ("silence=ever,maybe@connect", "silence takes seconds, pongs"),
        ("throttle=nan@connect", "above 0 bytes"),
        ("latency=nan@connect", "must not be below 0"),
        ("slice=0@connect", "at least 1 byte"),
        ("slice=1.5@connect", "slice takes size"),
        ("close=1011.5@connect", "close takes code, reason"),
        ("refuse=503.5@connect", "refuse takes status, retry_after"),
        ("refuse=503,-1@connect", "Retry-After must not be below 0"),
        ("outage=5,7@connect", "7 is neither 0, nor -1, nor an HTTP status"),
        ("reset@turn.update:0", "counted 1, 2, 3; not 0"),
        ("reset@turn.update:1.5", "counted 1, 2, 3; not 1.5"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_there_is(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_fault(text)
