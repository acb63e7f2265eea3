"""Reconnects and replays are bounded, whatever a server does: in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import (
    AudioGap,
    ConnectFailed,
    Disconnected,
    TurnEnd,
    TurnEvent,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.stream.outbox import Connect
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.hand import Hand, started, words
from tests.core.manual_world import ManualWorld
from tests.core.manual_world import Wire as ManualWire
from tests.core.world import MARK, Poison, Timed, World, check_order, flapping

SPEECH = 30.0  # seconds that the caller speaks


def most_in_ten_seconds(times: Sequence[float]) -> int:
    return max(len([t for t in times if at <= t < at + 10.0]) for at in times)


def play(hand: Hand, answer: Sequence[TurnEvent], seconds: float = SPEECH) -> list[float]:
    """A server that accepts each connection, says something, and resets it; return when."""
    opened = [0.0]
    hand.open()
    piece = words()[:640]
    while hand.now < seconds:
        hand.receives(*answer)
        hand.close(1006)
        hand.forget()
        while Connect() not in hand.actions:
            hand.speak(piece)
        opened.append(hand.now)
        hand.open()
    return opened


def poisoned(script: Script, at: float) -> bytes:
    """The audio of a script with the mark at a time."""
    # Rounded, so that the mark is in one message: Python 3.12 sums the times of a script otherwise.
    position = round(at * 16_000) * 2
    pcm = script.audio(World(script).options.format)
    assert MARK not in pcm
    return pcm[:position] + MARK + pcm[position + len(MARK) :]


class TestConnections:
    @pytest.mark.parametrize(
        "answer",
        [
            [TurnStart()],
            [TurnStart(), TurnUpdate("Hey"), TurnUpdate("Hey you")],
            [TurnStart(), TurnEnd("Hey")],
            [TurnStart(), TurnEnd("")],
        ],
        ids=["start", "text", "turn", "empty turn"],
    )
    def test_at_most_ten_in_ten_seconds_whatever_the_server_says(
        self, answer: Sequence[TurnEvent]
    ) -> None:
        opened = play(started(), answer)
        assert most_in_ten_seconds(opened) <= 10
        # ... and slower from there on.
        assert len([t for t in opened if t >= SPEECH - 10.0]) <= 6

    def test_nor_when_it_is_busy_and_says_to_come_back_at_once(self) -> None:
        hand, attempts = started(), [0.0]
        hand.silence(0.1)
        while hand.now < SPEECH:
            hand.forget()
            hand.session.connection_rejected(429, hand.now, retry_after=0.0)
            while Connect() not in hand.actions:
                hand.silence(0.02)
            attempts.append(hand.now)
        assert most_in_ten_seconds(attempts) <= 12

    def test_only_what_goes_past_what_was_reached_is_progress(self) -> None:
        hand = started()
        hand.open()
        for _ in range(5):
            hand.receives(TurnStart(), TurnUpdate("Hey"))
            hand.close(1011)
            hand.speak(words(8))
            hand.open()
        lost = [e for e in hand.events if isinstance(e, Disconnected | ConnectFailed)]
        retries = [event.retry_in or 0.0 for event in lost]
        # The first loss comes after progress; what follows repeats it.
        assert retries == sorted(retries)
        assert retries[-1] > 0.5


class TestAudio:
    def test_a_server_that_resets_after_each_start_is_not_sent_much_more_than_was_said(
        self,
    ) -> None:
        hand = started()
        play(hand, [TurnStart()], seconds=9.0)
        counts = hand.session.sender.counts
        assert counts.replayed <= counts.received


POISON = Script(
    Turn("good morning to you", after=1.5),
    Turn("I would like a very long table for two people please", after=2.0),
    Turn("are you still there", after=2.0),
    Turn("good bye", after=1.5),
)


class TestAPoisonTurn:
    @pytest.mark.parametrize("part", [0.3, 0.6])
    @pytest.mark.parametrize("latency", [0.01, 0.04, 0.15])
    def test_ends_with_the_known_text_and_a_gap_and_the_call_goes_on(
        self, part: float, latency: float
    ) -> None:
        start, end = POISON.spans[1]
        at = start + part * (end - start)
        world = World(POISON, [Timed(at, Poison())], latency=latency, tail=30.0).run()
        check_order(world.events)
        wanted = POISON.transcripts
        assert world.finals[0] == wanted[0]
        assert wanted[1].startswith(world.finals[1])
        assert world.finals[-2:] == wanted[2:]
        gaps = [event for event in world.events if isinstance(event, AudioGap)]
        assert len(gaps) == 1
        assert start - 0.6 <= gaps[0].position <= at <= gaps[0].position + gaps[0].seconds
        assert gaps[0].seconds < end - start
        counts = world.session.sender.counts
        assert counts.received == counts.sent + counts.lost
        assert counts.lost == world.options.format.size(gaps[0].seconds)
        assert 5 <= len(world.deaths) <= 6

    def test_the_poison_may_come_before_the_turn_is_announced(self) -> None:
        start, _ = POISON.spans[1]
        world = World(POISON, [Timed(start + 0.03, Poison())], tail=30.0).run()
        check_order(world.events)
        assert world.finals[0] == POISON.transcripts[0]
        assert world.finals[-2:] == POISON.transcripts[2:]
        assert len([event for event in world.events if isinstance(event, AudioGap)]) == 1

    @pytest.mark.parametrize("latency", [0.04, 0.15])
    @pytest.mark.parametrize("life", [0.2, 0.45, 0.5, 0.9])
    def test_a_network_that_flaps_in_a_turn_is_no_poison(self, life: float, latency: float) -> None:
        start, _ = POISON.spans[1]
        world = World(POISON, flapping(start + 1.0, 9, life), latency=latency, tail=40.0).run()
        assert world.finals == POISON.transcripts
        assert not any(isinstance(event, AudioGap) for event in world.events)


@dataclass
class ManualPoisonWorld(ManualWorld):
    """The same on the manual endpoint."""

    deaths: int = 0

    def _to_server(self, arrive: Callable[[ManualWire], object]) -> None:
        super()._to_server(arrive)
        pcm = arrive.args[0] if isinstance(arrive, partial) else None
        if isinstance(pcm, bytes) and MARK in pcm:
            self.at(self.now + 2 * self.latency, self._die)

    def _die(self) -> None:
        self.deaths += 1
        self.cut(1011)


class TestAPoisonSegment:
    @pytest.mark.parametrize("part", [0.3, 0.6])
    def test_keeps_the_known_text_and_the_session_goes_on(self, part: float) -> None:
        start, end = POISON.spans[1]
        at = start + part * (end - start)
        world = ManualPoisonWorld(POISON, timeout=60.0)
        pcm = poisoned(POISON, at)
        world.script = _Audio(POISON, pcm)
        world.run()
        wanted = POISON.transcripts
        assert world.finals[0].strip() == wanted[0].strip()
        assert [text.strip() for text in world.finals[2:]] == [t.strip() for t in wanted[2:]]
        gaps = [event for event in world.events if isinstance(event, AudioGap)]
        assert len(gaps) == 1
        assert start - 0.6 <= gaps[0].position <= at <= gaps[0].position + gaps[0].seconds
        counts = world.session.sender.counts
        assert counts.received == counts.sent + counts.lost
        assert world.deaths <= 8


class _Audio(Script):
    """A script whose audio was changed."""

    def __init__(self, script: Script, pcm: bytes) -> None:
        super().__init__(*script.turns, lead_in=script.lead_in)
        self._pcm = pcm

    def audio(self, audio: AudioFormat | None = None) -> bytes:
        return self._pcm
