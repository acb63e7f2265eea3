"""The replay buffer against a model: one run of bytes and a position in it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cartesia_ink_plugins.core.stream.replay_buffer import ReplayBuffer

CAPACITY = 40


class BufferModel(RuleBasedStateMachine):
    """Any order of append, release and read gives what the bytes themselves would give."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = ReplayBuffer(CAPACITY)
        self.everything = b""
        self.newest = 0
        self.dropped = 0
        self.released = 0

    @rule(pcm=st.binary(min_size=1, max_size=2 * CAPACITY))
    def append(self, pcm: bytes) -> None:
        start = self.buffer.start
        dropped = self.buffer.append(pcm)
        self.everything += pcm
        self.newest = len(pcm)
        self.dropped += dropped
        assert self.buffer.start == start + dropped

    @rule(share=st.floats(0, 1), beyond=st.integers(-5, 5))
    def release(self, share: float, beyond: int) -> None:
        start, end = self.buffer.start, self.buffer.end
        position = start + int(share * (end - start)) + beyond
        self.buffer.release(position)
        assert start <= self.buffer.start <= max(start, position)
        self.released += self.buffer.start - start

    @rule(share=st.floats(0, 1), limit=st.integers(0, 2 * CAPACITY))
    def read(self, share: float, limit: int) -> None:
        buffer = self.buffer
        position = buffer.start + int(share * (buffer.end - buffer.start))
        assert buffer.read(position, limit) == self.everything[position : position + limit]

    @invariant()
    def positions_never_restart(self) -> None:
        assert self.buffer.end == len(self.everything)
        assert self.buffer.start == self.dropped + self.released

    @invariant()
    def memory_is_bounded(self) -> None:
        held = self.buffer.end - self.buffer.start
        assert held <= CAPACITY or held == self.newest

    @invariant()
    def everything_held_can_be_read_at_once(self) -> None:
        buffer = self.buffer
        assert buffer.read(buffer.start, len(self.everything)) == self.everything[buffer.start :]


TestAnyOrder = BufferModel.TestCase


def test_append_returns_the_number_of_bytes_that_it_dropped() -> None:
    buffer = ReplayBuffer(10)
    assert buffer.append(b"aaaa") == 0
    assert buffer.append(b"bbbbbb") == 0
    assert buffer.append(b"c") == 4
    assert (buffer.start, buffer.end) == (4, 11)
    assert buffer.read(4, 100) == b"bbbbbbc"


def test_the_newest_chunk_always_stays() -> None:
    buffer = ReplayBuffer(4)
    assert buffer.append(b"aa") == 0
    assert buffer.append(b"bbbbbbbb") == 2
    assert buffer.read(2, 100) == b"bbbbbbbb"


@pytest.mark.parametrize("position", [-1, 1, 9])
def test_a_position_that_is_not_held_cannot_be_read(position: int) -> None:
    buffer = ReplayBuffer(100)
    buffer.append(b"aaaa")
    buffer.append(b"bbbb")
    buffer.release(4)
    with pytest.raises(IndexError):
        buffer.read(position, 1)


def test_live_audio_is_read_without_a_copy() -> None:
    buffer = ReplayBuffer(100)
    buffer.append(b"before")
    pcm = bytes(range(20))
    buffer.append(pcm)
    assert buffer.read(6, 20) is pcm
    assert buffer.read(26, 20) == b""


def test_a_chunk_leaves_only_as_a_whole() -> None:
    buffer = ReplayBuffer(100)
    buffer.append(b"aaaa")
    buffer.release(3)
    assert buffer.start == 0
    buffer.release(4)
    assert buffer.start == 4
