"""Which words of a turn are certain enough to be said: text that is never revised.

Pure. Each decode of a turn is a guess at all that follows the words already settled. A word is
settled when three decodes in a row have it and a word after it, because what is heard last is heard
worst; in a pause everything is settled, as there is nothing more to come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# So many decodes in a row must have a word, and so many words after it.
_AGREEING = 3
_HELD_BACK = 1

_WORD = re.compile(r"\s*\S+")
_BARE = re.compile(r"[a-z0-9']+")
_NEVER_LAST = frozenset(
    (
        "a an the my your our their every and but or because if than as of for to at from with "
        "into i i'm i'd i'll i've we're you're um uh er"
    ).split()
)
# A word said over and over: what Whisper makes of noise. Three times may be meant.
_LOOP = 4
_LOOP_WORDS = 6


class Words:
    """The settled words of one turn."""

    __slots__ = ("_guesses", "text")

    def __init__(self) -> None:
        """Begin a turn without words.

        Attributes:
            text: Everything settled so far; it begins with a space, and only grows.
        """
        self.text = ""
        self._guesses: list[list[str]] = []

    def guess(self, following: str) -> str:
        """Take a decode made while somebody speaks.

        Args:
            following: What it heard after the settled words.

        Returns:
            What is newly settled of it; may be empty.
        """
        guesses = [*self._guesses, split(following)][-_AGREEING:]
        count = 0
        if len(guesses) == _AGREEING:
            count = max(0, _agreed(guesses) - _HELD_BACK)
        self._guesses = [words[count:] for words in guesses]
        return self._settle(guesses[-1][:count])

    def settle(self, following: str) -> str:
        """Take a decode made in a pause: all of it is settled and returned."""
        self._guesses = []
        return self._settle(split(following))

    def _settle(self, words: Sequence[str]) -> str:
        new = "".join(words)
        self.text += new
        return new


def _agreed(guesses: Sequence[Sequence[str]]) -> int:
    """How many words they begin with alike."""
    count = 0
    for words in zip(*guesses, strict=False):
        if len(set(words)) > 1:
            break
        count += 1
    return count


def after(settled: str, text: str) -> str | None:
    """What follows the settled words in a text, if it begins with them; None if it does not.

    Case and punctuation may differ.
    """
    known, words = _WORD.findall(settled), _WORD.findall(text)
    if [_bare(word) for word in words[: len(known)]] != [_bare(word) for word in known]:
        return None
    return "".join(words[len(known) :])


def _bare(word: str) -> str:
    return "".join(_BARE.findall(word.lower())) or word.strip()


def unfinished(text: str) -> bool:
    """Tell whether a text stops at a word with which only a question may end."""
    words = _BARE.findall(text.lower())
    return bool(words) and words[-1] in _NEVER_LAST and not text.endswith("?")


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
