"""`stats()` tells what a scripted call was made of."""

from __future__ import annotations

import asyncio

import pytest

from cartesia_ink_plugins import (
    Credentials,
    InkManualClient,
    InkTurnsClient,
    ManualOptions,
    Speculation,
    SpeculationOutcome,
    SpeculationStats,
    TurnsOptions,
)
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stats import Snapshot
from cartesia_ink_plugins.core.tap import Moment, MomentKind
from cartesia_ink_plugins.observe.stats import Stats, StatsGroup, StatsTap
from cartesia_ink_plugins.server.faults import Outage, Reset
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.testing import InkServer
from tests.core.world import Timed
from tests.observe.playing import begin, play

SCRIPT = Script("Hello there.", "A table ... for two.", Turn(noise=0.5), "Yes.")
KEY = Credentials(api_key="any")


def test_a_call_is_counted_as_it_was_scripted() -> None:
    tap = StatsTap()
    world = play(SCRIPT, [Timed(2.0, Reset())], taps=[tap])
    stats = tap.stats()
    assert {name: getattr(stats, name) for name in Snapshot.__dataclass_fields__} == {
        name: getattr(world.session.snapshot(), name) for name in Snapshot.__dataclass_fields__
    }
    assert (stats.turns, stats.connections, stats.lost_connections) == (4, 2, 1)
    assert (stats.predictions, stats.resumes) == (4, 1)
    assert stats.replayed > 0
    # Noise without words is no turn that anybody waits for.
    assert stats.end_latency.count == stats.eager_lead.count == 3
    assert stats.end_latency.p50 == pytest.approx(0.88, abs=0.03)
    assert stats.eager_lead.p99 == pytest.approx(0.5, abs=0.03)
    assert tap.is_finished


def test_numbers_are_true_in_mid_session() -> None:
    tap = StatsTap()
    world = begin(Script("Hello there."), taps=[tap])
    seen: list[Stats] = []
    world.at(1.0, lambda: seen.append(tap.stats()))
    world.run()
    assert seen[0].received == pytest.approx(1.0, abs=0.03)
    assert seen[0].turns == 1
    assert seen[0].end_latency.count == 0


def test_failed_attempts_and_rejections_are_told_apart_from_lost_connections() -> None:
    tap = StatsTap()
    play(SCRIPT, [Timed(1.0, Outage(2.0))], taps=[tap])
    stats = tap.stats()
    assert stats.lost_connections == 1
    assert stats.failed_connections >= 2
    assert stats.rejections == 0
    rejected = StatsTap()
    play(SCRIPT, [Timed(0.0, Outage(5.0, 401))], taps=[rejected])
    assert rejected.stats().rejections == 1


def test_tokens_of_speculations_are_added_up_and_those_of_the_discarded_are_wasted() -> None:
    tap = StatsTap()
    for outcome, prompt, completion in (
        (SpeculationOutcome.KEPT, 100, 10),
        (SpeculationOutcome.WITHDRAWN, 200, 20),
        (SpeculationOutcome.MISMATCHED, 400, None),
        (SpeculationOutcome.WITHDRAWN, None, 40),
    ):
        speculation = Speculation(outcome, 0.5, prompt, completion)
        tap.on(Moment(1.0, MomentKind.SPECULATION_ENDED, 1, 1, speculation))
    assert tap.stats().speculations == SpeculationStats(
        kept=1,
        withdrawn=2,
        mismatched=1,
        prompt_tokens=700,
        completion_tokens=70,
        wasted_prompt_tokens=600,
        wasted_completion_tokens=60,
    )


def counted_in(group: StatsGroup) -> StatsTap:
    group.add(tap := StatsTap())
    return tap


def test_a_group_adds_sessions_that_are_over_and_those_that_go_on() -> None:
    group = StatsGroup()
    assert group.stats() == StatsTap().stats()
    first = play(Script("Hello there."), taps=[counted_in(group)])
    second = begin(Script("Yes.", "No."), taps=[counted_in(group)])
    both: list[Stats] = []
    second.at(1.0, lambda: both.append(group.stats()))
    second.run()
    received = first.session.snapshot().received
    assert both[0].received == pytest.approx(received + 1.0, abs=0.03)
    assert group.stats().turns == 3
    assert group.stats().end_latency.count == 3
    assert group.stats() == group.stats()


def test_a_group_keeps_one_tap_however_many_sessions_ended() -> None:
    group = StatsGroup()
    for _ in range(20):
        play(Script("Yes."), taps=[counted_in(group)], tail=0.5)
    assert group.stats().turns == 20
    assert len(group._taps) == 0


async def test_a_turns_client_tells_its_stats() -> None:
    script = Script("Hello there.")
    async with InkServer(script) as server:
        options = TurnsOptions(base_url=server.url)
        resilience = Resilience(catch_up_rate=1000.0, drain_timeout=30.0)
        async with InkTurnsClient(options, KEY, resilience=resilience) as ink:
            assert ink.stats().received == 0
            ink.send_audio(script.audio(options.format))
            await ink.finish()
        stats = ink.stats()
    assert (stats.turns, stats.connections, stats.predictions) == (1, 1, 1)
    assert stats.received == stats.sent == pytest.approx(script.seconds, abs=0.1)
    assert stats.pending == 0
    assert stats.speculations == SpeculationStats()


async def test_a_manual_client_tells_its_stats() -> None:
    script = Script("Hello there.")
    async with InkServer(script) as server:
        options = ManualOptions(base_url=server.url)
        resilience = Resilience(catch_up_rate=1000.0, drain_timeout=30.0)
        async with InkManualClient(options, KEY, resilience=resilience) as ink:
            ink.send_audio(script.audio(options.format))
            async with asyncio.timeout(30.0):
                final = await ink.finalize()
            stats = ink.stats()
    assert final.text.strip() == "Hello there."
    assert stats.turns == 1
    assert stats.end_latency.count == 1
