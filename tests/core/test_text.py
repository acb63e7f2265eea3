"""Text is joined and cut without changing a character that the service sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.text import (
    Seam,
    join,
    join_at,
    join_overlapping,
    join_surrogates,
    normalized,
    remainder,
    with_space,
    without_last_word,
    without_prefix,
)


class TestJoin:
    @pytest.mark.parametrize(
        ("before", "after", "whole"),
        [
            ("", "Hello", "Hello"),
            ("Hello", "", "Hello"),
            ("Hello", "there", "Hello there"),
            ("Hello", " there", "Hello there"),
            ("Hello ", "there", "Hello there"),
            ("Hello", ", there", "Hello, there"),
            ("Hello", ".", "Hello."),
            ("", " Hello", " Hello"),
            ("Is it", "?", "Is it?"),
            ("Hello\n", "there", "Hello\nthere"),
        ],
    )
    def test_one_space_where_two_connections_meet_and_all_else_verbatim(
        self, before: str, after: str, whole: str
    ) -> None:
        assert join(before, after) == whole

    @given(st.text(), st.text())
    def test_nothing_is_lost_and_nothing_but_one_space_is_added(
        self, before: str, after: str
    ) -> None:
        assert join(before, after) in (before + after, f"{before} {after}")

    @pytest.mark.parametrize(
        ("text", "spaced"),
        [("", ""), ("a", " a"), (" a", " a"), ("\na", "\na"), (".", "."), ("' quoted", "' quoted")],
    )
    def test_a_space_is_put_only_before_a_word(self, text: str, spaced: str) -> None:
        assert with_space(text) == spaced

    @pytest.mark.parametrize(
        ("seam", "whole"),
        [
            (Seam.NONE, "a table forfor two"),
            (Seam.NEW_CONNECTION, "a table for for two"),
            (Seam.OVERLAP, "a table for two"),
        ],
    )
    def test_the_seam_decides_how_two_texts_are_joined(self, seam: Seam, whole: str) -> None:
        assert join_at(seam, "a table for", "for two") == whole


class TestJoinOverlapping:
    @pytest.mark.parametrize(
        ("before", "after", "whole"),
        [
            ("a table for", "for two", "a table for two"),
            ("a table for", "table for two people", "a table for two people"),
            ("a table for two", "Table, for two people.", "a table for two people."),
            ("a table for two", "for two", "a table for two"),
            ("a table for two", "table", "a table for two"),
            ("a table for two", "people", "a table for two people"),
            ("a table", "", "a table"),
            ("", "a table", "a table"),
        ],
    )
    def test_words_that_are_known_are_not_repeated(
        self, before: str, after: str, whole: str
    ) -> None:
        assert join_overlapping(before, after) == whole

    @given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=8), st.data())
    def test_a_replay_of_known_words_never_loses_any(
        self, words: list[str], data: st.DataObject
    ) -> None:
        first = data.draw(st.integers(0, len(words)))
        known = data.draw(st.integers(first, len(words)))
        before, after = " ".join(words[:known]), " ".join(words[first:])
        assert join_overlapping(before, after).startswith(before)

    @given(st.text(), st.text())
    def test_the_text_before_is_never_changed(self, before: str, after: str) -> None:
        whole = join_overlapping(before, after)
        assert whole.startswith(before)
        assert after.endswith(whole[len(before) :].removeprefix(" "))

    def test_words_are_compared_without_case_and_punctuation(self) -> None:
        assert normalized("Table, for TWO ... people's") == [
            "table",
            "for",
            "two",
            "...",
            "peoples",
        ]

    def test_what_follows_the_first_words_is_verbatim(self) -> None:
        assert without_prefix("  a  table,\nfor two ", ["a", "table,"]) == "\nfor two "
        assert without_prefix("a table", []) == "a table"


class TestCompleteWords:
    @pytest.mark.parametrize(
        ("text", "complete"),
        [
            ("", ""),
            ("one", ""),
            ("one two", "one"),
            ("one two ", "one two"),
            ("one\n", "one"),
            (" one", ""),
            ("one  two\nthree", "one  two"),
            ("東京", "東京"),
            ("東京は today", "東京は"),
        ],
    )
    def test_the_last_word_is_left_out_because_it_may_go_on(self, text: str, complete: str) -> None:
        assert without_last_word(text) == complete

    @given(st.text(), st.text(alphabet="abc'é", max_size=5))
    def test_what_is_complete_stays_so_whatever_follows(self, text: str, more: str) -> None:
        complete = without_last_word(text)
        assert text.startswith(complete)
        assert without_last_word(text + more).startswith(complete)


class TestSurrogates:
    @pytest.mark.parametrize(
        ("text", "whole"),
        [
            ("a\ud83d\ude00", "a😀"),
            ("a\ud83d", "a\ufffd"),
            ("\ude00b", "\ufffdb"),
            ("plain é 東", "plain é 東"),
            ("", ""),
        ],
    )
    def test_two_halves_become_a_character_and_one_half_a_replacement(
        self, text: str, whole: str
    ) -> None:
        assert join_surrogates(text) == whole

    @given(st.text(alphabet=st.characters()))
    def test_any_text_becomes_text_that_can_be_encoded(self, text: str) -> None:
        join_surrogates(text + "\ud83d").encode()

    @given(st.text())
    def test_text_without_surrogates_is_not_changed(self, text: str) -> None:
        assert join_surrogates(text) == text


class TestRemainder:
    @pytest.mark.parametrize(
        ("delivered", "text", "rest"),
        [
            ("", "a b", "a b"),
            ("a b", "a b c", " c"),
            ("a b", "a", ""),
            ("I can", "I can't do", " do"),
            ("too tables", "two tables for me", " for me"),
            ("a table", "a tablecloth here", " here"),
            ("a b.", "a b. c", " c"),
        ],
    )
    def test_what_follows_the_words_that_were_delivered(
        self, delivered: str, text: str, rest: str
    ) -> None:
        assert remainder(delivered, text) == rest

    @given(st.text(), st.text())
    def test_it_is_always_the_end_of_the_text(self, delivered: str, text: str) -> None:
        assert text.endswith(remainder(delivered, text))
