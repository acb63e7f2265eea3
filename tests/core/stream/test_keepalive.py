"""Silence is sent where audio stopped: in a turn in real time, between turns rarely or never."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.stream.keepalive import SILENCE, KeepaliveSilence

NEVER = float("inf")


class Asking:
    """Asks for silence, with the time of the last audio."""

    def __init__(self, *, idle: bool) -> None:
        self.keepalive = KeepaliveSilence(idle=idle)
        self.audio_at = NEVER
        self.frame = 0.0

    def due(self, now: float, *, in_turn: bool) -> int:
        return self.keepalive.messages_due(
            now, audio_at=self.audio_at, frame=self.frame, in_turn=in_turn
        )

    def seconds(self, until: float, *, in_turn: bool, step: float = 0.1) -> float:
        """Ask regularly; return the seconds of silence that were due."""
        count, now = 0, 0.0
        while now < until:
            now += step
            count += self.due(now, in_turn=in_turn)
        return count * SILENCE


def after_audio(*, idle: bool) -> Asking:
    """Audio was received at 0, and none since."""
    asking = Asking(idle=idle)
    asking.audio_at = 0.0
    return asking


def test_none_while_audio_is_received() -> None:
    asking = Asking(idle=True)
    for number in range(100):
        asking.audio_at = number * 0.1
        assert asking.due(number * 0.1 + 0.05, in_turn=True) == 0


@pytest.mark.parametrize("step", [0.02, 0.1, 0.13, 0.5])
def test_in_a_turn_silence_replaces_audio_in_real_time(step: float) -> None:
    asking = after_audio(idle=False)
    assert asking.seconds(10.0, in_turn=True, step=step) == pytest.approx(8.0, abs=0.6)


def test_after_the_first_message_it_says_when_the_next_is_due() -> None:
    asking = after_audio(idle=False)
    assert asking.due(2.5, in_turn=True) == 1
    assert asking.keepalive.next_at == pytest.approx(2.6)
    assert asking.due(asking.keepalive.next_at, in_turn=True) == 1


def test_audio_ends_the_silence() -> None:
    asking = after_audio(idle=False)
    assert asking.due(2.5, in_turn=True)
    asking.audio_at = 2.55
    assert asking.due(2.7, in_turn=True) == 0
    assert asking.keepalive.next_at == NEVER


def test_after_audio_that_stops_again_silence_begins_anew() -> None:
    asking = after_audio(idle=False)
    assert asking.due(2.5, in_turn=True)
    asking.audio_at = 5.0
    assert asking.due(7.0, in_turn=True) == 0
    assert asking.due(7.2, in_turn=True) == 1


@pytest.mark.parametrize(("frame", "silent_at"), [(0.02, 2.12), (1.0, 3.1), (30.0, 3.6)])
def test_a_long_frame_is_waited_for_but_not_without_end(frame: float, silent_at: float) -> None:
    asking = after_audio(idle=False)
    asking.frame = frame
    assert asking.due(silent_at - 0.01, in_turn=True) == 0
    assert asking.due(silent_at + 0.01, in_turn=True) == 1


def test_a_long_delay_of_the_process_is_not_made_up_for() -> None:
    asking = after_audio(idle=False)
    assert asking.due(2.5, in_turn=True) == 1
    assert asking.due(61.0, in_turn=True) == 10
    assert asking.keepalive.next_at == pytest.approx(61.1)


def test_an_application_that_says_so_is_not_waited_for() -> None:
    keepalive = KeepaliveSilence(idle=False)
    due = keepalive.messages_due(0.1, audio_at=0.0, frame=0.02, in_turn=True, is_stopped=True)
    assert due == 1


def test_a_line_may_stall_for_two_seconds() -> None:
    assert after_audio(idle=False).due(2.0, in_turn=True) == 0


def test_none_between_turns() -> None:
    asking = after_audio(idle=False)
    assert asking.seconds(600.0, in_turn=False, step=0.5) == 0


def test_between_turns_one_message_a_minute_if_wanted() -> None:
    asking = after_audio(idle=True)
    silence = asking.seconds(601.0, in_turn=False, step=0.5)
    assert silence == pytest.approx(10 * SILENCE)


def test_none_before_the_first_audio() -> None:
    assert Asking(idle=True).seconds(300.0, in_turn=False, step=1.0) == 0
