"""What the voices of the end-of-turn benchmark say, and where they pause.

A line of `end_of_turn_tune.txt` and `end_of_turn_report.txt` is one turn; `|` is a planted pause,
in the middle of it. The two share no line: one is for tuning, the other is only reported. The kinds
are what callers of a voice agent say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Part(Enum):
    """What a turn may be used for."""

    TUNE = "tune"
    REPORT = "report"


class Kind(Enum):
    """What kind of turn it is."""

    SENTENCE = "whole sentence"
    ANSWER = "short answer"
    NUMBER = "number or spelling"
    LIST = "list"
    TRAILING = "trailing off"
    HESITATION = "hesitation"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn to be spoken.

    Attributes:
        part: What it may be used for.
        kind: What kind of turn it is.
        pieces: What is said between the planted pauses.
    """

    part: Part
    kind: Kind
    pieces: tuple[str, ...]


def turns(part: Part) -> list[Turn]:
    """All turns of a part."""
    found: list[Turn] = []
    kind = Kind.SENTENCE
    text = Path(__file__).with_name(f"end_of_turn_{part.value}.txt").read_text(encoding="utf-8")
    for line in filter(None, text.splitlines()):
        if line.startswith("# "):
            kind = Kind(line.removeprefix("# "))
        else:
            found.append(Turn(part, kind, tuple(piece.strip() for piece in line.split("|"))))
    return found
