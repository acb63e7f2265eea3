"""Which words of a turn are certain enough to be said: text that is never revised.

Pure. Each decode of a turn is a guess at all that follows the words already settled. A word is
settled when two decodes in a row have it and a word after it, because what is heard last is heard
worst; in a pause everything is settled, as there is nothing more to come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\s*\S+")
# A word said over and over: what Whisper makes of noise. Three times may be meant.
_LOOP = 4
_LOOP_WORDS = 6


class Words:
    """The settled words of one turn."""

    __slots__ = ("_last", "text")

    def __init__(self) -> None:
        """Begin a turn without words.

        Attributes:
            text: Everything settled so far; it begins with a space, and only grows.
        """
        self.text = ""
        self._last: list[str] = []

    def guess(self, following: str) -> str:
        """Take a decode made while somebody speaks.

        Args:
            following: What it heard after the settled words.

        Returns:
            What is newly settled of it; may be empty.
        """
        words = split(following)
        agreed = 0
        for ours, theirs in zip(words, self._last, strict=False):
            if ours != theirs:
                break
            agreed += 1
        count = max(0, agreed - 1)
        self._last = words[count:]
        return self._settle(words[:count])

    def settle(self, following: str) -> str:
        """Take a decode made in a pause: all of it is settled and returned."""
        self._last = []
        return self._settle(split(following))

    def _settle(self, words: Sequence[str]) -> str:
        new = "".join(words)
        self.text += new
        return new


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
