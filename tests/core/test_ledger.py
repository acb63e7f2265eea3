"""The ledger against a model that any reader can check: one run of bytes and a place in it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cartesia_ink_plugins.core.ledger import Ledger

CAPACITY = 40


class LedgerModel(RuleBasedStateMachine):
    """Any order of append, settle and read gives what the bytes themselves would give."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(CAPACITY)
        self.everything = b""
        self.newest = 0
        self.dropped = 0
        self.settled = 0

    @rule(pcm=st.binary(min_size=1, max_size=2 * CAPACITY))
    def append(self, pcm: bytes) -> None:
        start = self.ledger.start
        dropped = self.ledger.append(pcm)
        self.everything += pcm
        self.newest = len(pcm)
        self.dropped += dropped
        assert self.ledger.start == start + dropped

    @rule(share=st.floats(0, 1), beyond=st.integers(-5, 5))
    def settle(self, share: float, beyond: int) -> None:
        start, end = self.ledger.start, self.ledger.end
        position = start + int(share * (end - start)) + beyond
        self.ledger.settle(position)
        assert start <= self.ledger.start <= max(start, position)
        self.settled += self.ledger.start - start

    @rule(share=st.floats(0, 1), limit=st.integers(0, 2 * CAPACITY))
    def read(self, share: float, limit: int) -> None:
        ledger = self.ledger
        position = ledger.start + int(share * (ledger.end - ledger.start))
        assert ledger.read(position, limit) == self.everything[position : position + limit]

    @invariant()
    def positions_never_restart(self) -> None:
        assert self.ledger.end == len(self.everything)
        assert self.ledger.start == self.dropped + self.settled

    @invariant()
    def memory_is_bounded(self) -> None:
        held = self.ledger.end - self.ledger.start
        assert held <= CAPACITY or held == self.newest

    @invariant()
    def everything_held_can_be_read_at_once(self) -> None:
        ledger = self.ledger
        assert ledger.read(ledger.start, len(self.everything)) == self.everything[ledger.start :]


TestAnyOrder = LedgerModel.TestCase


def test_what_does_not_fit_is_told() -> None:
    ledger = Ledger(10)
    assert ledger.append(b"aaaa") == 0
    assert ledger.append(b"bbbbbb") == 0
    assert ledger.append(b"c") == 4
    assert (ledger.start, ledger.end) == (4, 11)
    assert ledger.read(4, 100) == b"bbbbbbc"


def test_the_newest_chunk_always_stays() -> None:
    ledger = Ledger(4)
    assert ledger.append(b"aa") == 0
    assert ledger.append(b"bbbbbbbb") == 2
    assert ledger.read(2, 100) == b"bbbbbbbb"


@pytest.mark.parametrize("position", [-1, 1, 9])
def test_what_is_not_held_cannot_be_read(position: int) -> None:
    ledger = Ledger(100)
    ledger.append(b"aaaa")
    ledger.append(b"bbbb")
    ledger.settle(4)
    with pytest.raises(IndexError):
        ledger.read(position, 1)


def test_live_audio_is_read_without_a_copy() -> None:
    ledger = Ledger(100)
    ledger.append(b"before")
    pcm = bytes(range(20))
    ledger.append(pcm)
    assert ledger.read(6, 20) is pcm
    assert ledger.read(26, 20) == b""


def test_a_chunk_leaves_only_as_a_whole() -> None:
    ledger = Ledger(100)
    ledger.append(b"aaaa")
    ledger.settle(3)
    assert ledger.start == 0
    ledger.settle(4)
    assert ledger.start == 4
