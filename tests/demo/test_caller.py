"""The recorded caller: when he speaks, waits and hangs up. There is no clock: a tick is a tick."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.booking import ToolCall, UserMessage, follow
from cartesia_ink_plugins.demo.caller import (
    LINES,
    TICK_BYTES,
    TICK_SECONDS,
    Caller,
    CallerState,
    CallerTiming,
    Line,
    expected_booking,
    recording,
)

TIMING = CallerTiming(answer_after=0.5, patience=2.0, hang_up_after=0.5)


def sound(seconds: float) -> bytes:
    time = np.arange(int(seconds * 16_000)) / 16_000
    return AudioFormat().encode((0.3 * np.sin(2 * np.pi * 200 * time)).astype(np.float32))


def a_caller(*lines: Line, seconds: float = 1.0, greeted: bool = True) -> Caller:
    return Caller(lines, timing=TIMING, audio=[sound(seconds)] * len(lines), greeted=greeted)


def pass_time(caller: Caller, seconds: float, *, bot: bool = False) -> bytes:
    ticks = round(seconds / TICK_SECONDS)
    return b"".join(caller.tick(bot_speaking=bot) for _ in range(ticks))


def pass_until(caller: Caller, true: Callable[[], bool], *, bot: bool = False) -> float:
    """Seconds that pass until something is true."""
    began = caller.now
    while not true():
        caller.tick(bot_speaking=bot)
        assert caller.now - began < 30
    return caller.now - began


def test_he_waits_for_the_greeting_and_for_the_end_of_it() -> None:
    caller = a_caller(Line("a", "Hello."))
    pass_time(caller, 1.0)
    pass_time(caller, 1.5, bot=True)
    assert not caller.spoken
    assert pass_until(caller, lambda: bool(caller.spoken)) == pytest.approx(0.5, abs=0.03)


def test_a_pause_between_two_sentences_of_the_bot_is_no_end() -> None:
    caller = a_caller(Line("a", "Hello."))
    for _ in range(4):
        pass_time(caller, 0.6, bot=True)
        pass_time(caller, 0.4)
    assert not caller.spoken


def test_he_speaks_first_when_nobody_greets() -> None:
    caller = a_caller(Line("a", "Hello."), greeted=False)
    assert pass_until(caller, lambda: bool(caller.spoken)) == pytest.approx(0.5, abs=0.03)


def test_he_loses_patience_with_a_bot_that_says_nothing() -> None:
    caller = a_caller(Line("a", "Hello."), Line("b", "Are you there?"))
    assert pass_until(caller, lambda: len(caller.spoken) == 1) == pytest.approx(2.0, abs=0.05)
    assert pass_until(caller, lambda: len(caller.spoken) == 2) == pytest.approx(3.0, abs=0.05)


def test_his_audio_is_the_recording_between_silences() -> None:
    caller = a_caller(Line("a", "Hello."), greeted=False)
    heard = pass_time(caller, 2.0)
    assert len(heard) == round(2.0 / TICK_SECONDS) * TICK_BYTES
    assert heard.strip(b"\0") == sound(1.0).strip(b"\0")


def test_he_knows_when_he_spoke() -> None:
    caller = a_caller(Line("a", "Hello."), greeted=False)
    pass_time(caller, 2.0)
    spoken = caller.spoken[0]
    assert spoken.start == pytest.approx(0.5, abs=0.03)
    assert spoken.end == pytest.approx(1.5, abs=0.03)


def test_he_interrupts_when_his_line_says_so() -> None:
    caller = a_caller(Line("a", "Hello."), Line("b", "Wait!", interrupts=0.8), greeted=False)
    pass_until(caller, lambda: caller.state is CallerState.SPEAKING)
    pass_until(caller, lambda: caller.state is CallerState.LISTENING)
    waited = pass_until(caller, lambda: len(caller.spoken) == 2, bot=True)
    assert waited == pytest.approx(0.8, abs=0.05)


def test_a_bot_that_is_interrupted_and_still_heard_has_not_answered() -> None:
    caller = a_caller(Line("a", "Wait!", interrupts=0.5), Line("b", "Yes."), seconds=0.4)
    pass_until(caller, lambda: bool(caller.spoken), bot=True)
    pass_until(caller, lambda: caller.state is CallerState.LISTENING, bot=True)
    assert pass_until(caller, lambda: len(caller.spoken) == 2) == pytest.approx(2.0, abs=0.05)


def test_he_hangs_up_when_the_bot_has_answered_his_last_line() -> None:
    caller = a_caller(Line("a", "Goodbye."), greeted=False)
    pass_until(caller, lambda: caller.state is CallerState.SPEAKING)
    pass_until(caller, lambda: caller.state is CallerState.LISTENING)
    pass_time(caller, 1.0, bot=True)
    assert pass_until(caller, lambda: caller.state is CallerState.HUNG_UP) == pytest.approx(
        0.5, abs=0.03
    )


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_line_has_a_recording(line: Line) -> None:
    seconds = len(recording(line)) / 32_000
    assert 0.5 < seconds < 6


def test_one_line_pauses_in_mid_sentence() -> None:
    (line,) = (line for line in LINES if line.pause)
    samples = np.abs(np.frombuffer(recording(line), "<i2").astype(int))
    loud = np.flatnonzero(samples > 300)
    assert line.pause is not None
    assert np.diff(loud).max() / 16_000 == pytest.approx(line.pause, abs=0.15)


def test_one_line_interrupts_and_there_are_at_least_five() -> None:
    assert len(LINES) >= 5
    assert sum(line.interrupts is not None for line in LINES) == 1


@pytest.mark.parametrize("today", [date(2026, 11, day) for day in range(21, 29)])
def test_the_booking_he_wants_is_what_his_words_say(today: date) -> None:
    said = [UserMessage(line.spoken_text) for line in LINES[:-1]]
    reply = follow(said, today).reply()
    assert isinstance(reply, ToolCall)
    assert reply.arguments == expected_booking(today)
