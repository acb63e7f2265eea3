"""Which words of a turn are certain enough to be said: text that is never revised.

Pure. Each decode of a turn is a guess at all that follows the words already settled. A word is
settled when two decodes in a row are sure of it, or three have it and two words after it, because
what is heard last is heard worst: "what you" is the beginning of "what your country". In a pause
everything is settled, as there is nothing more to come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# So many decodes in a row must have a word, and so many words after it.
_AGREEING = 3
_HELD_BACK = 2

_WORD = re.compile(r"\s*\S+")
_BARE = re.compile(r"[a-z0-9']+")
# A word said over and over: what Whisper makes of noise. Three times may be meant.
_LOOP = 4
_LOOP_WORDS = 6


class Words:
    """The settled words of one turn."""

    __slots__ = ("_guesses", "_sure", "text")

    def __init__(self) -> None:
        """Begin a turn without words.

        Attributes:
            text: Everything settled so far; it begins with a space, and only grows.
        """
        self.text = ""
        self._guesses: list[list[str]] = []
        self._sure: list[str] = []

    def guess(self, following: str, sure: str = "") -> str:
        """Take a decode made while somebody speaks.

        Args:
            following: What it heard after the settled words.
            sure: The beginning of that of which it is sure.

        Returns:
            What is newly settled of it; may be empty.
        """
        guesses = [*self._guesses, split(following)][-_AGREEING:]
        count = 0
        if len(guesses) == _AGREEING:
            count = max(0, _agreed(guesses) - _HELD_BACK)
        certain = split(sure)
        agreed = _agreed([self._sure, certain])
        if agreed > count:
            count, words = agreed, certain
        else:
            words = guesses[-1]
        self._guesses = [guess[count:] for guess in guesses]
        self._sure = certain[count:]
        return self._settle(words[:count])

    def settle(self, following: str) -> str:
        """Take a decode made in a pause: all of it is settled and returned."""
        self._guesses, self._sure = [], []
        return self._settle(split(following))

    def _settle(self, words: Sequence[str]) -> str:
        new = "".join(words)
        self.text += new
        return new


def _agreed(guesses: Sequence[Sequence[str]]) -> int:
    """How many words they begin with alike."""
    count = 0
    for words in zip(*guesses, strict=False):
        if len({_bare(word) for word in words}) > 1:
            break
        count += 1
    return count


def after(settled: str, text: str) -> str | None:
    """What follows the settled words in a text, if it begins with them; None if it does not.

    Case and punctuation may differ, and the last settled word may be the beginning of a longer one.
    """
    known, words = _WORD.findall(settled), _WORD.findall(text)
    count = len(known)
    if not count:
        return text
    if len(words) < count or [*map(_bare, words[: count - 1])] != [*map(_bare, known[:-1])]:
        return None
    last: str = known[-1].strip()
    found: str = words[count - 1].strip()
    if found.lower().startswith(last.lower()):
        rest = found[len(last) :]
    elif _bare(found) == _bare(last):
        rest = ""
    else:
        return None
    return rest + "".join(words[count:])


def _bare(word: str) -> str:
    return "".join(_BARE.findall(word.lower())) or word.strip()


def split(text: str) -> list[str]:
    """Cut a text into words, each with the space before it and the punctuation after it."""
    words = _WORD.findall(text)
    for length in range(1, _LOOP_WORDS + 1):
        words = _without_loop(words, length)
    return words


def _without_loop(words: list[str], length: int) -> list[str]:
    """Cut the words off after a phrase of this length that is said four times in a row."""
    bare = [word.strip(" .,!?").lower() for word in words]
    for start in range(len(words) - _LOOP * length + 1):
        phrase = bare[start : start + length]
        if bare[start : start + _LOOP * length] == phrase * _LOOP:
            return words[: start + length]
    return words
