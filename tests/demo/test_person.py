"""A person at a microphone: what reaches the bot, and when it was said."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.caller import TICK_BYTES, TICK_SECONDS
from cartesia_ink_plugins.demo.journal import CallEvent, Note
from cartesia_ink_plugins.demo.person import Person

QUIET = bytes(TICK_BYTES)


def loud(ticks: int) -> list[bytes]:
    samples = np.random.default_rng(1).normal(0, 0.2, ticks * TICK_BYTES // 2).astype(np.float32)
    pcm = AudioFormat().encode(samples)
    return [pcm[at : at + TICK_BYTES] for at in range(0, len(pcm), TICK_BYTES)]


def microphone(pieces: Iterable[bytes]) -> Callable[[], bytes]:
    left = iter(pieces)
    return lambda: next(left, QUIET)


def play(person: Person, ticks: int, *, bot_speaking: bool = False) -> bytes:
    return b"".join(person.tick(bot_speaking=bot_speaking) for _ in range(ticks))


def test_what_was_said_before_the_call_is_nobodys_business() -> None:
    person = Person(microphone([b"\1" * 9000, b"\2" * TICK_BYTES]))
    assert play(person, 2) == b"\2" * TICK_BYTES


def test_a_line_lasts_as_long_as_the_sound_whenever_the_turn_is_seen() -> None:
    person = Person(microphone([QUIET] * 50 + loud(50)))
    play(person, 65)
    person.follow(Note(person.now, CallEvent.TURN_START))
    play(person, 75)
    person.follow(Note(person.now, CallEvent.TURN_END, "Hello."))
    [spoken] = person.spoken
    assert spoken.start == pytest.approx(50 * TICK_SECONDS, abs=0.05)
    assert spoken.end == pytest.approx(100 * TICK_SECONDS, abs=0.05)
    assert spoken.line.interrupts is None


def test_who_speaks_while_the_bot_does_interrupts_it() -> None:
    person = Person(microphone(loud(20)))
    assert any(play(person, 20, bot_speaking=True))
    person.follow(Note(person.now, CallEvent.TURN_START))
    assert person.spoken[0].line.interrupts is not None


def test_a_polite_person_is_not_heard_while_the_bot_is() -> None:
    person = Person(microphone(loud(100)), interrupts=False)
    assert not any(play(person, 20, bot_speaking=True))
    assert not any(play(person, 20))  # a room rings on
    assert any(play(person, 20))


def test_a_microphone_that_gives_nothing_is_silent() -> None:
    """So a turn can end, and the recording of the call stays in step."""
    person = Person(lambda: b"")
    assert len(play(person, 100)) >= 70 * TICK_BYTES


def test_the_end_of_a_turn_that_was_not_seen_to_start_is_no_line() -> None:
    person = Person(lambda: QUIET)
    person.follow(Note(0.0, CallEvent.TURN_END, "Hello."))
    assert person.spoken == []
