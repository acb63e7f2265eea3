"""The messages of the manual endpoint, and words with times, which batch has, too.

https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its times.

    Attributes:
        word: Verbatim, mostly with the space before it.
        start: Seconds into the audio at which it begins.
        end: Seconds into the audio at which it ends.
    """

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """More words of the manual endpoint: a piece of text that may begin and end inside a word.

    Attributes:
        text: To be appended exactly as it is to the text before it.
        is_final: False for a guess that the next message may replace; so far no model makes any.
        duration: Seconds of audio it is about, when the model says so.
        language: What is spoken, when the model says so.
        words: The words with their times, when the model says so.
    """

    type: ClassVar[str] = "transcript"
    text: str
    is_final: bool = True
    duration: float | None = None
    language: str | None = None
    words: tuple[Word, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class FlushDone:
    """The answer to `finalize`: all words of the audio before it have been said."""

    type: ClassVar[str] = "flush_done"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to `close` on the manual endpoint: all words have been said."""

    type: ClassVar[str] = "done"
    request_id: str | None = None


def decode_transcript(fields: Mapping[str, Any], request_id: str | None) -> Transcript | None:
    """Read a delta; what is optional and wrong is left out. None when there is no text."""
    text = fields.get("text")
    if not isinstance(text, str):
        return None
    return Transcript(
        text,
        is_final=fields.get("is_final") is not False,
        duration=_number(fields.get("duration")),
        language=_text(fields.get("language")),
        words=decode_words(fields.get("words")),
        request_id=request_id,
    )


def encode_transcript(message: Transcript) -> dict[str, Any]:
    """Write what only a transcript has; absent fields are None."""
    return {
        "text": message.text,
        "is_final": message.is_final,
        "duration": message.duration,
        "language": message.language,
        "words": encode_words(message.words),
    }


def decode_words(items: Any) -> tuple[Word, ...]:
    """Read words with times; what is no such word is left out."""
    if not isinstance(items, list):
        return ()
    words = []
    for item in items:
        if isinstance(item, dict):
            word = _text(item.get("word"))
            start, end = _number(item.get("start")), _number(item.get("end"))
            if word is not None and start is not None and end is not None:
                words.append(Word(word, start, end))
    return tuple(words)


def encode_words(words: Sequence[Word]) -> list[dict[str, Any]] | None:
    """Write words with times as the API does; None when there are none."""
    return [{"word": w.word, "start": w.start, "end": w.end} for w in words] or None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer of JSON may be larger than any float.
    return float(value) if -1e12 < value < 1e12 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
