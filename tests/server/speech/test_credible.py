"""What is believed of what Whisper writes."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.server.speech.credible import credible, sure, without_loop
from cartesia_ink_plugins.server.speech.whisper import Decoded


def decoded(confidence: float, no_speech: float) -> Decoded:
    return Decoded((1,), confidence, no_speech)


def test_certain_words_are_believed() -> None:
    assert credible(" Yes.", decoded(0.8, 0.01), 0.4, after_text=False)
    assert credible(" Thank you.", decoded(0.8, 0.01), 0.6, after_text=False)


@pytest.mark.parametrize("text", [" you", " Thank you.", " Bye."])
def test_what_whisper_says_to_silence_is_not(text: str) -> None:
    assert not credible(text, decoded(0.4, 0.02), 0.2, after_text=False)
    assert not credible(text, decoded(0.6, 0.9), 1.0, after_text=False)


def test_nonsense_and_nothing_are_not() -> None:
    assert not credible(" M", decoded(0.1, 0.1), 1.0, after_text=False)
    assert not credible(" ...", decoded(0.9, 0.1), 1.0, after_text=False)
    assert not credible("", decoded(0.0, 0.1), 1.0, after_text=True)


def test_in_a_turn_with_words_more_words_are_no_surprise() -> None:
    assert credible(" and rain", decoded(0.4, 0.9), 1.0, after_text=True)
    assert not credible(" and rain", decoded(0.4, 0.9), 1.0, after_text=False)


def test_sure_of_the_first_words_without_the_mark_at_their_end() -> None:
    pieces = [(" Wait", 0.7), (",", 1.0), (" could", 0.9), (" we", 0.9), ("?", 1.0)]
    assert sure(" Wait, could we?", pieces) == " Wait, could we"
    assert sure(" Wait, could we?", pieces[:2]) == " Wait"


@pytest.mark.parametrize(
    ("pieces", "known"),
    [
        ([(" Hi", 0.3), (" Sal", 0.9), ("ut", 0.9)], ""),
        ([(" black", 0.5), (" one", 0.9)], " black one"),
        ([(" get", 0.9), (" the", 0.9), (" block", 0.5)], " get the"),
        ([(" Dash", 0.9), ("wood", 0.2)], ""),
        ([], ""),
    ],
)
def test_a_word_is_sure_by_its_least_probable_piece_and_the_last_must_be_more_so(
    pieces: list[tuple[str, float]], known: str
) -> None:
    assert sure("".join(piece for piece, _ in pieces), pieces) == known


@pytest.mark.parametrize(
    ("text", "voiced", "once"),
    [
        (" Book a room Book a room", 0.8, " Book a room"),
        (" Book a room Book a room Book a room", 0.8, " Book a room"),
        (" Two. Would you like them? Would you like them", 1.5, " Two. Would you like them?"),
        (" Book a room. Book a room.", 3.0, " Book a room. Book a room."),
        (" Book a room", 0.6, " Book a room"),
        (" 5, 5.", 1.0, " 5, 5."),
        ("", 0.1, ""),
    ],
)
def test_a_phrase_said_again_for_which_there_was_no_time_is_a_loop(
    text: str, voiced: float, once: str
) -> None:
    assert without_loop(text, voiced) == once
