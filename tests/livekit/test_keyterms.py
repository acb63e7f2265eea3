"""The user's keyterms and the session's become one list that the API takes."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.livekit.keyterms import merge_keyterms


def test_own_terms_come_first_and_nothing_twice() -> None:
    assert merge_keyterms(["Ink", "Sonic"], ["Acme", "Ink", "Acme"]) == ("Ink", "Sonic", "Acme")


def test_empty_terms_of_the_session_are_left_out() -> None:
    assert merge_keyterms([], ["", "  ", "Acme"]) == ("Acme",)


@pytest.mark.parametrize(
    ("own", "session", "kept"),
    [
        pytest.param([f"own{i}" for i in range(99)], ["a", "b"], 100, id="terms"),
        pytest.param(["x" * 1198], ["ab", "c"], 2, id="characters"),
    ],
)
def test_what_is_over_the_limit_is_left_out_with_a_warning(
    own: list[str], session: list[str], kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "livekit.plugins.cartesia_ink"):
        merged = merge_keyterms(own, session)
    assert len(merged) == kept
    assert list(merged[: len(own)]) == own
    assert "left 1 session keyterms out" in caplog.text
