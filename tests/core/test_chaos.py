"""No word lost, no turn cut: hundreds of conversations on a network that breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cartesia_ink_plugins.core.turns.alignment import Overlap
from cartesia_ink_plugins.core.turns.replay import TurnReplay
from cartesia_ink_plugins.core.turns.transcript import TurnTranscript
from tests.core.chaos import Case, case, check, long_case, mute_case

CONVERSATIONS = 320
GROUP = 20


def _fails(made: Case) -> bool:
    try:
        check(made, made.run())
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("first", range(0, CONVERSATIONS, GROUP))
def test_words_and_turns_survive_whatever_the_network_does(first: int) -> None:
    failed = [seed for seed in range(first, first + GROUP) if _fails(case(seed))]
    assert not failed, f"replay with: python -m tests.core.chaos {failed[0]}"


@pytest.mark.parametrize("first", range(0, 40, GROUP))
def test_so_they_do_when_messages_are_late_now_and_then(first: int) -> None:
    seeds = range(first, first + GROUP)
    failed = [seed for seed in seeds if _fails(replace(case(seed), jitter=1.0))]
    assert not failed


@pytest.mark.parametrize("first", range(0, 40, GROUP))
def test_so_they_do_when_two_servers_in_a_row_are_mute(first: int) -> None:
    seeds = range(first, first + GROUP)
    failed = [seed for seed in seeds if _fails(mute_case(seed))]
    assert not failed


@pytest.mark.parametrize("first", range(0, 60, GROUP))
def test_so_they_do_when_a_turn_is_long_and_its_replay_short(first: int) -> None:
    failed = [seed for seed in range(first, first + GROUP) if _fails(long_case(seed))]
    assert not failed, f"replay with: python -m tests.core.chaos {failed[0]} long"


def test_the_same_seed_gives_the_same_history() -> None:
    assert case(7).run().history == case(7).run().history


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


@pytest.mark.parametrize("mutate", [_replay_too_little, _replay_too_much, _forget_the_text])
def test_a_broken_recovery_does_not_pass(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert any(_fails(case(seed)) for seed in range(60))
