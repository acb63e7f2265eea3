"""A short replay is joined with the known text only where it repeats it, in one place, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.core.turns.alignment import (
    Overlap,
    Repeat,
    SettledText,
    UpdateHistory,
    extended,
    is_behind,
)
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.server.script import Script

PCM16 = AudioFormat()
KNOWN = "We want a table for two people"


def overlap(text: str = KNOWN, settled: str = "We want a table") -> Overlap:
    """What a replay must repeat: the end of what was settled, then the rest of the text."""
    return Overlap(text, SettledText(0, settled))


class TestJoin:
    @pytest.mark.parametrize(
        "transcript",
        [
            "table for two people at seven",
            "a table for two people at seven",
            "We want a table for two people at seven",
        ],
    )
    def test_what_follows_the_overlap_is_added(self, transcript: str) -> None:
        assert overlap().join(transcript) == f"{KNOWN} at seven"

    def test_a_replay_that_has_only_repeated_adds_nothing(self) -> None:
        assert overlap().join("a table for two people") == KNOWN

    def test_the_text_behind_it_is_verbatim(self) -> None:
        assert overlap().join("a table for two people,  at\nseven. ") == f"{KNOWN}  at\nseven. "

    def test_case_and_punctuation_may_differ(self) -> None:
        assert overlap().join("A table, for TWO people! At seven") == f"{KNOWN} At seven"

    @pytest.mark.parametrize(
        "transcript",
        [
            "",
            "table for two",
            "for two people at seven",  # nothing of what was settled
            "chair for two people at seven",
            "a table for too people at seven",
            "a table for for two people at seven",
            "We want table for two people at seven",
            "people two for table",
        ],
    )
    def test_in_any_doubt_nothing_is_joined(self, transcript: str) -> None:
        assert overlap().join(transcript) is None

    def test_the_first_word_may_be_a_fragment(self) -> None:
        assert overlap().join("nt a table for two people at seven") == f"{KNOWN} at seven"

    def test_but_not_when_it_is_all_that_was_settled(self) -> None:
        assert overlap().join("ble for two people at seven") is None

    def test_two_places_are_a_doubt(self) -> None:
        repeated = overlap("no no no no no no", "no no no")
        assert repeated.join("no no no no no no no") is None

    def test_a_repetition_behind_the_overlap_is_new_text(self) -> None:
        joined = overlap().join("a table for two people a table for two people")
        assert joined == f"{KNOWN} a table for two people"

    def test_once_found_it_is_not_looked_for_again(self) -> None:
        """The server's text only grows, and may repeat the overlap later."""
        expected = overlap()
        assert expected.join("a table for two people") == KNOWN
        again = "a table for two people table for two people"
        assert expected.join(again) == f"{KNOWN} table for two people"

    @given(
        st.integers(1, 20),
        st.integers(1, 10),
        st.integers(0, 10),
        st.integers(1, 20),
        st.booleans(),
    )
    def test_distinct_words_are_never_lost_or_doubled(
        self, settled: int, tail: int, new: int, lead: int, is_broken: bool
    ) -> None:
        spoken = [f"w{number}" for number in range(settled + tail + new)]
        known = spoken[: settled + tail]
        replayed = spoken[max(0, settled - lead) :]
        if is_broken:
            replayed[0] = replayed[0][1:]
        expected = Overlap(" ".join(known), SettledText(0, " ".join(spoken[:settled])))
        joined = expected.join(" ".join(replayed))
        is_in_doubt = is_broken and min(settled, lead) == 1
        assert joined == (None if is_in_doubt else " ".join(spoken))


class TestMissing:
    def test_it_is_waited_for_through_twelve_more_words(self) -> None:
        tail = ["for", "two", "people"]
        for extra in range(13):
            assert not overlap().is_missing(" ".join(["x"] * (len(tail) + extra)))
        assert overlap().is_missing(" ".join(["x"] * (len(tail) + 13)))


class TestDistinct:
    @pytest.mark.parametrize(
        ("text", "settled", "is_distinct"),
        [
            (KNOWN, "We want a table", True),
            ("no no no no no no", "no no", False),
            ("a b c a b c", "a b", True),
            ("a b c d a b c d", "a b c d a", False),
            ("A, b c! d a B c d.", "a b c d a", False),
        ],
    )
    def test_the_overlap_must_occur_once(
        self, text: str, settled: str, *, is_distinct: bool
    ) -> None:
        assert overlap(text, settled).is_distinct is is_distinct

    def test_what_is_too_old_to_be_replayed_does_not_count(self) -> None:
        filler = " ".join(f"w{number}" for number in range(20))
        text = f"a b c d {filler} a b c d"
        assert overlap(text, f"a b c d {filler} a").is_distinct


SPEECH = Script(" ".join(f"word{number}" for number in range(40)), lead_in=1.0)
START, END = SPEECH.spans[0]


@pytest.fixture(scope="module")
def speech() -> SpeechTracker:
    """Twelve seconds of speech without a pause, analysed."""
    tracker = SpeechTracker(PCM16, 0.0)
    pcm, size = SPEECH.audio(), PCM16.size(0.02)
    for start in range(0, len(pcm), size):
        piece = pcm[start : start + size]
        tracker.vad.audio_received(piece, PCM16.seconds(start + len(piece)))
    return tracker


def text_of(words: int) -> str:
    return " ".join(f"word{number}" for number in range(words))


class TestUpdateHistory:
    def history(self, *updates: tuple[float, int]) -> UpdateHistory:
        history = UpdateHistory()
        for seconds, words in updates:
            history.add(PCM16.size(seconds), text_of(words))
        return history

    def test_the_replay_begins_a_margin_of_speech_before_an_update(
        self, speech: SpeechTracker
    ) -> None:
        history = self.history((6.0, 18), (9.0, 28))
        short = history.short_replay(text_of(35), PCM16.size(START), speech)
        assert short is not None
        position, expected = short
        assert PCM16.seconds(position) == pytest.approx(9.0 - 1.5, abs=0.5)
        assert expected.join(f"{text_of(36)}") == text_of(36)

    def test_an_update_with_too_little_text_behind_it_is_passed_over(
        self, speech: SpeechTracker
    ) -> None:
        history = self.history((7.0, 21), (9.0, 33))
        short = history.short_replay(text_of(35), PCM16.size(START), speech)
        assert short is not None
        assert PCM16.seconds(short[0]) == pytest.approx(7.0 - 1.5, abs=0.5)

    def test_the_text_behind_it_must_be_distinct(self, speech: SpeechTracker) -> None:
        history = UpdateHistory()
        history.add(PCM16.size(9.0), "no no no no")
        known = "no no no no no no no no"
        assert history.short_replay(known, PCM16.size(START), speech) is None

    def test_it_is_not_worth_it_when_little_is_saved(self, speech: SpeechTracker) -> None:
        history = self.history((6.0, 18))
        assert history.short_replay(text_of(35), PCM16.size(3.0), speech) is None
        assert history.short_replay(text_of(35), 0, speech) is not None

    def test_without_enough_speech_before_it_only_the_long_replay_is_safe(self) -> None:
        silent = SpeechTracker(PCM16, 0.0)
        silent.vad.audio_received(PCM16.silence(12.0), 12.0)
        assert self.history((9.0, 28)).short_replay(text_of(35), 0, silent) is None

    def test_without_updates_there_is_none(self, speech: SpeechTracker) -> None:
        history = self.history((9.0, 28))
        history.clear()
        assert history.short_replay(text_of(35), 0, speech) is None
        assert UpdateHistory().short_replay(text_of(35), 0, speech) is None

    def test_only_the_newest_sixty_four_are_kept(self, speech: SpeechTracker) -> None:
        history = self.history((9.0, 28))
        for _ in range(64):
            history.add(PCM16.size(11.0), text_of(35))
        assert history.short_replay(text_of(35), 0, speech) is None


@pytest.mark.parametrize(
    ("shown", "text", "expected"),
    [
        ("one two", "one two three", "one two three"),
        ("one two three", "one two", "one two three"),
        ("one two three", "one too three four", "one two three four"),
        # More of the repeated words tell more than the place does.
        ("one two three", "two three three four", "one two three three four"),
        # Of several places, that which is as many words from the start as were shown.
        ("one two three", "three one too three four", "one two three four"),
        ("one two three", "one too three four five three", "one two three four five three"),
        # Nothing is repeated: as many words as were shown are skipped.
        ("one two", "won too three", "one two three"),
    ],
)
def test_what_another_connection_recognized_behind_it_is_added(
    shown: str, text: str, expected: str
) -> None:
    assert extended(shown, text) == expected


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("", True),
        ("one two", True),
        ("one two three", False),
        ("won too", True),
        ("won three", False),  # fewer words, but the last one is there
        ("won too tree", False),
        ("one two three four", False),
    ],
)
def test_text_is_behind_until_it_reaches_what_was_shown(text: str, is_so: bool) -> None:
    assert is_behind(text, "one two three") is is_so


class TestRepeat:
    def test_what_was_repeated_is_removed_from_one_turn_only(self) -> None:
        repeat = Repeat("one two")
        assert repeat.new(TurnStart()) == repeat.new(TurnUpdate("one")) == []
        assert repeat.new(TurnEnd("one two three")) == [TurnStart(), TurnEnd(" three")]
        for event in (TurnStart(), TurnUpdate("one two"), TurnEnd("one two four")):
            assert repeat.new(event) == [event]

    def test_turns_that_only_repeat_are_not_told(self) -> None:
        repeat = Repeat("one two three")
        for event in (TurnStart(), TurnEnd("one two"), TurnStart()):
            assert repeat.new(event) == []
        assert repeat.new(TurnEnd("three four")) == [TurnStart(), TurnEnd(" four")]

    def test_a_turn_that_repeats_nothing_is_left_as_it_is(self) -> None:
        repeat = Repeat("one two")
        assert repeat.new(TurnStart()) == []
        assert repeat.is_pending
        assert repeat.new(TurnUpdate("seven")) == [TurnStart(), TurnUpdate("seven")]
        assert not repeat.is_pending
