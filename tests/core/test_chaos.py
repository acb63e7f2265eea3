"""No word lost, no turn cut: hundreds of conversations on a network that breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cartesia_ink_plugins.core.stream.server_position import ServerPosition
from cartesia_ink_plugins.core.turns.alignment import Overlap, Repeat
from cartesia_ink_plugins.core.turns.replay import TurnReplay
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.core.turns.transcript import TurnTranscript
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.chaos import KINDS, Case, case, check_all, hard_case, late_case, long_case
from tests.core.world import Stall, Timed

GROUP = 20  # conversations in one test
# 500 in all; more are a matter of `python -m tests.core.chaos`.
CONVERSATIONS = {
    "plain": 100,
    "late": 100,
    "hard": 100,
    "phase": 80,
    "slow": 40,
    "long": 20,
    "silent": 20,
    "poison": 20,
    "several": 20,
}


def _fails(*cases: Case) -> bool:
    try:
        check_all(cases)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, first) for kind, count in CONVERSATIONS.items() for first in range(0, count, GROUP)],
)
def test_words_and_turns_survive_whatever_happens(kind: str, first: int) -> None:
    failed = [seed for seed in range(first, first + GROUP) if _fails(*KINDS[kind](seed))]
    assert not failed, f"replay with: python -m tests.core.chaos {failed[0]} {kind}"


@pytest.mark.parametrize("first", [0, 30, 50])
def test_so_they_do_where_several_pauses_may_have_ended_each_turn(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is rare is made common here: each replay between turns may repeat a part of the last."""
    end = SpeechTracker.turn_end

    def in_doubt(self: SpeechTracker, settled: int, at_least: int, at_most: int) -> tuple[int, int]:
        return end(self, settled, at_least - self.size(2.0), at_most)

    monkeypatch.setattr(SpeechTracker, "turn_end", in_doubt)
    seeds = range(first, first + 11)
    assert not [seed for seed in seeds if _fails(case(seed)) or _fails(late_case(seed))]


def test_every_kind_of_conversation_is_played() -> None:
    assert CONVERSATIONS.keys() == KINDS.keys()
    assert sum(CONVERSATIONS.values()) == 500


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        pytest.param("hard", 100_020, id="the loop is blocked anew before it ran"),
        pytest.param("phase", 100_366, id="a short silence within a long one"),
    ],
)
def test_no_message_of_a_server_overtakes_another(kind: str, seed: int) -> None:
    assert not _fails(*KINDS[kind](seed))


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        pytest.param("phase", 100_301, id="no pongs, and messages 3 s late"),
        pytest.param("phase", 300_012, id="no pongs, and messages 5 s late"),
        pytest.param("slow", 300_651, id="two words behind an early eager end"),
        pytest.param("slow", 300_879, id="a word behind an early eager end"),
        pytest.param("hard", 600_014, id="connections that live not much longer than is held back"),
    ],
)
def test_what_once_lost_words_or_said_them_twice(kind: str, seed: int) -> None:
    assert not _fails(*KINDS[kind](seed))


def test_the_same_seed_gives_the_same_history() -> None:
    assert hard_case(7).run().history == hard_case(7).run().history


def _replay_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    # The lead-in of half a second is there to forgive less than that.
    begin = TurnReplay.begin

    def late(self: TurnReplay, now: float) -> int:
        return begin(self, now) + 20_000 * (self._lost_at > 0)

    monkeypatch.setattr(TurnReplay, "begin", late)


def _replay_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = TurnReplay.begin

    def early(self: TurnReplay, now: float) -> int:
        return max(self._sender.buffer.start, begin(self, now) - 32_000)

    monkeypatch.setattr(TurnReplay, "begin", early)


def _forget_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    add = TurnTranscript.add_checkpoint

    def forget(self: TurnTranscript, position: int) -> None:
        add(self, position)
        self.checkpoints[-1:] = [replace(self.checkpoints[-1], text="")]

    monkeypatch.setattr(TurnTranscript, "add_checkpoint", forget)


def test_a_short_replay_that_is_joined_in_doubt_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def skip(self: Overlap, tokens: list[str]) -> int:
        """Skip as many words as are expected to repeat, whether they do or not."""
        return len(self._tail) + 1

    monkeypatch.setattr(Overlap, "_find", skip)
    assert any(_fails(long_case(seed)) for seed in range(20))


def _guess_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pings among the audio only the round-trip time tells what a message is about."""
    monkeypatch.setattr(ServerPosition, "can_ping", False)

    def at_least(self: ServerPosition) -> int:
        sent_at = self._points[-1][0] if self._points else 0
        return self._at(sent_at - max(self._round_trips, default=0))

    monkeypatch.setattr(ServerPosition, "at_least", property(at_least))
    monkeypatch.setattr(ServerPosition, "at_most", lambda _, sent, now: sent)


def _repeat_known_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repeat, "new", lambda _, event: [event])


@pytest.mark.parametrize(
    ("mutate", "kind"),
    [
        (_replay_too_little, "plain"),
        (_replay_too_much, "plain"),
        (_forget_the_text, "hard"),
        (_repeat_known_text, "phase"),
    ],
)
def test_a_broken_recovery_does_not_pass(
    mutate: Callable[[pytest.MonkeyPatch], None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert any(_fails(*KINDS[kind](seed)) for seed in range(100))


@pytest.mark.parametrize("guesses", [False, True])
def test_nor_does_one_that_guesses_the_position_in_a_stall(
    monkeypatch: pytest.MonkeyPatch, *, guesses: bool
) -> None:
    if guesses:
        _guess_the_position(monkeypatch)
    parts: list[str | float] = ["four five six", 0.5, "seven eight nine ten eleven"]
    # A longer pause is one of those that may have ended the turn, also where that is guessed.
    script = Script(Turn("one two three", after=0.9), Turn(parts, after=1.6))
    (_, end), (start, _) = script.spans
    made = Case(
        0, script, (Timed(end + 0.45, Stall(1.5)), Timed(start + 1.3, Reset())), latency=0.04
    )
    assert _fails(made) is guesses
