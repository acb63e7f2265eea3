"""Audio at which every connection ends is told from a network that breaks all connections."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.repeated_loss import RepeatedLoss

PCM16 = AudioFormat()
RATE = 2.0  # as fast as a replay is sent


def at(seconds: float) -> int:
    return PCM16.size(seconds)


def dies(losses: RepeatedLoss, place: float, life: float = 0.4) -> tuple[int, int] | None:
    """A server dies at a place, later by as much as its audio was held back."""
    return losses.connection_lost(at(place), life + losses.hold_back)


class TestOneCauseInTheAudio:
    @pytest.mark.parametrize("place", [0.3, 2.0, 20.0])
    def test_is_found_at_the_fifth_connection(self, place: float) -> None:
        losses = RepeatedLoss(PCM16)
        losses.made_progress(at(0.2))
        found = [dies(losses, place + 0.02 * n) for n in range(5)]
        assert found[:4] == [None] * 4
        assert found[4] is not None
        start, end = found[4]
        assert start == at(min(0.2, place - 0.25))
        assert at(place + 0.08) < end <= at(place + 0.5)

    def test_progress_behind_the_place_does_not_move_its_beginning(self) -> None:
        losses = RepeatedLoss(PCM16)
        losses.made_progress(at(9.0))
        found = [dies(losses, 3.0) for _ in range(5)]
        assert found[4] is not None
        assert found[4][0] == at(2.75)

    def test_progress_begins_the_count_anew(self) -> None:
        losses = RepeatedLoss(PCM16)
        for _ in range(4):
            assert dies(losses, 3.0) is None
        losses.made_progress(at(1.0))
        assert [dies(losses, 3.0) for _ in range(4)] == [None] * 4

    def test_so_does_a_connection_that_was_sent_no_audio(self) -> None:
        losses = RepeatedLoss(PCM16)
        for _ in range(4):
            assert dies(losses, 3.0) is None
        losses.connection_lost(at(3.0), 0.4, has_audio=False)
        assert [dies(losses, 3.0) for _ in range(4)] == [None] * 4

    def test_without_progress_all_before_the_places_is_given_up_and_a_little_behind(self) -> None:
        losses = RepeatedLoss(PCM16)
        found = [dies(losses, 3.0 + n / 20) for n in (4, 0, 2, 3, 1)]
        assert found[4] == (0, at(3.2) + at(0.25))

    def test_what_was_found_is_not_found_again(self) -> None:
        losses = RepeatedLoss(PCM16)
        assert [dies(losses, 3.0) for _ in range(9)].count(None) == 8

    def test_nor_does_a_connection_count_that_is_told_late_of_its_end(self) -> None:
        losses = RepeatedLoss(PCM16)
        lives = [9.0, 0.4, 0.4, 1.7, 0.4]
        assert [dies(losses, 3.0, life) for life in lives].count(None) == 4

    def test_ten_losses_at_a_place_are_no_chance_however_long_each_took(self) -> None:
        losses = RepeatedLoss(PCM16)
        found = [losses.connection_lost(at(3.0), 0.7) for _ in range(10)]
        assert found == [None] * 9 + [(0, at(3.25))]


class TestANetworkThatFlaps:
    @pytest.mark.parametrize("life", [0.25, 0.6, 2.0])
    def test_is_no_such_cause_however_regular_it_is(self, life: float) -> None:
        losses = RepeatedLoss(PCM16)
        for _ in range(40):
            sent = max(0.0, life - losses.hold_back) * RATE
            assert losses.connection_lost(at(5.0 + sent), life) is None

    @pytest.mark.parametrize("late", [(), (2,), (5,)])
    def test_nor_is_one_where_what_is_held_back_makes_hardly_a_difference(
        self, late: tuple[int, ...]
    ) -> None:
        """Answers take long, so the server is thought to have received little of what was sent.

        Some connections hear late of their opening, or of their end.
        """
        losses = RepeatedLoss(PCM16)
        for number in range(9):
            sent = 0.3 if losses.hold_back else 0.5
            life = 0.7 + (0.0 if number not in late else 0.3 if losses.hold_back else -0.3)
            assert losses.connection_lost(at(5.0 + sent), life) is None

    def test_nor_is_one_whose_connections_end_before_the_server_has_any_audio(self) -> None:
        """Those that are not held back have a little: the tolerance does not tell them apart."""
        losses = RepeatedLoss(PCM16)
        for _ in range(40):
            sent = 0.0 if losses.hold_back else 0.1
            lost = losses.connection_lost(at(5.0 + sent), 0.6, has_audio=sent > 0.0)
            assert lost is None

    def test_the_first_replays_are_not_held_back(self) -> None:
        losses = RepeatedLoss(PCM16)
        for _ in range(3):
            assert losses.hold_back == 0.0
            losses.connection_lost(0, 0.6)
        assert losses.hold_back > 0.0
