"""Joining and cutting transcripts, without changing a character that the service sent.

The service never revises text and puts the spaces between pieces itself, except at the beginning of
a connection (https://docs.cartesia.ai/use-the-api/stt/best-practices). So text is concatenated
verbatim, and a space is added only where two connections meet.
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import islice

_NO_SPACE_BEFORE = ".,;:!?)]}'\""
# A word is complete after a space, or after a character of a script without spaces.
_COMPLETE = re.compile(r".*[\s\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff9f]", re.DOTALL)
_WORD = re.compile(r"\s*\S+")
_GOES_ON = re.compile(r"[A-Za-z0-9]['’A-Za-z0-9]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Seam(Enum):
    """What lies between known text and the text of the present connection."""

    NONE = "none"
    NEW_CONNECTION = "new connection"
    OVERLAP = "overlap"


def join_at(seam: Seam, before: str, after: str) -> str:
    """Join the text of two connections."""
    match seam:
        case Seam.NONE:
            return before + after
        case Seam.NEW_CONNECTION:
            return join(before, after)
        case Seam.OVERLAP:
            return join_overlapping(before, after)


def join(before: str, after: str) -> str:
    """Join text where a new connection begins, with the space that the service leaves out there."""
    if not before or before[-1].isspace():
        return before + after
    return before + with_space(after)


def with_space(text: str) -> str:
    """Return the text as it would be after other text."""
    if not text or text[0].isspace() or text[0] in _NO_SPACE_BEFORE:
        return text
    return f" {text}"


def join_overlapping(before: str, after: str) -> str:
    """Join two texts of which the second may begin with words that end the first."""
    more = after.split()
    known, new = normalized(before), normalized(after)
    if any(known[at : at + len(new)] == new for at in range(len(known))):
        return before
    for size in range(min(len(known), len(new)), 0, -1):
        if known[-size:] == new[:size]:
            return before + without_prefix(after, more[:size])
    return join(before, after)


def normalized(text: str) -> list[str]:
    """Return the words without case and punctuation."""
    return ["".join(filter(str.isalnum, word)).casefold() or word for word in text.split()]


def without_prefix(text: str, prefix: list[str]) -> str:
    """Return what follows the first words of a text, verbatim."""
    for word in prefix:
        text = text[text.index(word) + len(word) :]
    return text


def without_last_word(text: str) -> str:
    """Return the text without its last word, which the next delta may continue."""
    found = _COMPLETE.match(text)
    return found.group().rstrip() if found else ""


def join_surrogates(text: str) -> str:
    """Repair characters that arrived in two halves (UTF-16 surrogates)."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def remainder(delivered: str, text: str) -> str:
    """Return what of a text follows the words that the user has received already."""
    if not delivered:
        return text
    if text.startswith(delivered) and not _GOES_ON.match(text, len(delivered) - 1):
        return text[len(delivered) :]
    if delivered.startswith(text):
        return ""
    # Recognized differently the second time: skip as many words as were delivered.
    end = 0
    for word in islice(_WORD.finditer(text), len(delivered.split())):
        end = word.end()
    return text[end:]
