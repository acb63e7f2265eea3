"""What one recognition does, and what it leaves out; the models are made up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cartesia_ink_plugins.server.speech.features import Features
from cartesia_ink_plugins.server.speech.onnx import SmartTurn
from cartesia_ink_plugins.server.speech.recognise import Recogniser, Request
from cartesia_ink_plugins.server.speech.whisper import After, Decoded, Whisper

SENTENCE = After(stop=0.9, question=0.0, comma=0.0, dots=0.0, nothing=0.1)


class TwoMinds(Whisper):
    """Hears one text with one beam and another with five; each character is a token.

    The first token is as probable to one beam as is said here.

    Attributes:
        done: What it was asked to do, in order: the beams of each decode, and "after".
    """

    def __init__(self, *, one: str, five: str, chance: float = 0.9) -> None:
        self._texts = {1: one, 5: five}
        self._chance = chance
        self.done: list[int | str] = []

    def encode(self, features: Features) -> object:
        return None

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def without_marks(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        return self.tokens(self.text(tokens).rstrip("."))

    def decode(self, heard: object, *, beams: int = 1, **_: object) -> Decoded:
        self.done.append(beams)
        tokens = self.tokens(self._texts[beams])
        if beams > 1:
            return Decoded(tokens, 0.9, 0.0)
        chances = (self._chance, *(0.9 for _ in tokens[1:]))
        return Decoded(tokens, 0.9, 0.0, chances, SENTENCE)

    def after(self, heard: object, tokens: tuple[int, ...]) -> After:
        self.done.append("after")
        return SENTENCE


def request(prefix: str = "", *, pause: bool = False) -> Request:
    features = np.zeros((1, 80, 1500), np.float32)
    return Request(features, 100, 1.0, prefix, melody=features if pause else None)


class Complete(SmartTurn):
    """Takes every voice for a complete one."""

    def __init__(self) -> None:
        """Needs no model."""

    def __call__(self, features: Features) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("prefix", "five", "known", "beams"),
    [
        ("", " He was", " He was", [1, 5]),
        ("", " He was here.", " He was", [1, 5]),
        ("", " She was", "", [1, 5]),
        (" So", " She was", " He was", [1]),
    ],
)
def test_of_the_first_words_those_are_sure_that_five_beams_hear_as_well(
    prefix: str, five: str, known: str, beams: list[int]
) -> None:
    whisper = TwoMinds(one=" He was", five=five, chance=0.49)
    answer = Recogniser(whisper, SmartTurn(None))(request(prefix))
    assert answer is not None
    assert answer.sure == known
    assert whisper.done == beams


def test_first_words_that_one_beam_is_certain_of_are_not_searched_for_with_five() -> None:
    whisper = TwoMinds(one=" He was", five=" She was", chance=0.5)
    answer = Recogniser(whisper, SmartTurn(None))(request())
    assert answer is not None
    assert answer.following == " He was"
    assert whisper.done == [1]


@pytest.mark.parametrize(
    ("chance", "five", "heard", "done"),
    [
        (0.5, " She was here.", " He was here.", [1]),
        (0.49, " He was here", " He was here", [1, 5]),
        (0.49, " She was here.", " She was here.", [1, 5, "after"]),
    ],
)
def test_a_pause_costs_no_more_than_its_words_need(
    chance: float, five: str, heard: str, done: list[int | str]
) -> None:
    """What one beam is certain of is final; what stands after words is asked once."""
    whisper = TwoMinds(one=" He was here.", five=five, chance=chance)
    answer = Recogniser(whisper, Complete())(request(pause=True))
    assert answer is not None
    assert answer.following == heard
    assert answer.final is not None
    assert whisper.done == done


@pytest.mark.parametrize("chance", [0.5, 0.49])
@pytest.mark.parametrize("five", [" He was here.", " She was here."])
def test_helpers_change_no_answer(chance: float, five: str) -> None:
    answers = []
    with ThreadPoolExecutor(2) as pool:
        for helpers in (None, pool):
            whisper = TwoMinds(one=" He was here.", five=five, chance=chance)
            recognise = Recogniser(whisper, Complete(), helpers=helpers)
            answers.append(recognise(request(pause=True)))
    assert answers[0] == answers[1]
    assert answers[0] is not None


@pytest.mark.parametrize("pause", [True, False])
def test_what_nobody_waits_for_any_more_is_not_decoded(pause: bool) -> None:
    whisper = TwoMinds(one=" He was", five=" He was")
    assert Recogniser(whisper, Complete())(request(pause=pause), lambda: False) is None
    assert not whisper.done


def test_an_interim_that_nobody_waits_for_any_more_is_not_searched_for_with_five_beams() -> None:
    whisper = TwoMinds(one=" He was", five=" He was", chance=0.49)
    awaited = iter([True, False])
    assert Recogniser(whisper, SmartTurn(None))(request(), lambda: next(awaited)) is None
    assert whisper.done == [1]
