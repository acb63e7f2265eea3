"""Segments: the text between one `finalize` and the next, put together from deltas.

A delta may begin and end anywhere, also inside a word, and is appended exactly as it came
(https://docs.cartesia.ai/api-reference/stt/manual/websocket). What is shown while a segment is open
ends with a whole word; its final text is everything.

A connection may die inside a segment. Its audio is replayed on another one, from a *mark*, where
text and audio are known to agree. The application sees no shrinking text and no text twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cartesia_ink_plugins.core.conversation import join, join_overlapping, with_space
from cartesia_ink_plugins.core.events import Final, Interim
from cartesia_ink_plugins.core.transcripts import Transcript, Word

# After a space, or after a character of a script that is written without spaces, a word is whole.
_WHOLE = re.compile(r".*[\s\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff9f]", re.DOTALL)
_SENTENCE_MARKS = (".", "?", "!", "…")
_WORD = re.compile(r"\s*\S+")
_GOES_ON = re.compile(r"[A-Za-z0-9]['’A-Za-z0-9]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def whole_words(text: str) -> str:
    """Text without its last word, which may go on in the next delta; and without space after it."""
    found = _WHOLE.match(text)
    return found.group().rstrip() if found else ""


def mend(text: str) -> str:
    """Put characters together that were broken into two halves (UTF-16 surrogates)."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def after(given: str, text: str) -> str:
    """What of a text comes after words that are known to the user already."""
    if not given:
        return text
    if text.startswith(given) and not _GOES_ON.match(text, len(given) - 1):
        return text[len(given) :]
    if given.startswith(text):
        return ""
    # Heard differently the second time: as many words are skipped as were given.
    words = _WORD.findall(text)
    return "".join(words[len(_WORD.findall(given)) :])


class _Joint(Enum):
    """What lies between the text at the mark and what was heard since."""

    NOTHING = "nothing"
    NEW_CONNECTION = "new connection"
    OVERLAP = "overlap"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where text and audio agree.

    Attributes:
        position: In the stream; the text covers all speech of the segment before it.
        text: Of the segment up to there.
        words: As many words with times came up to there.
        duration: Of the transcripts up to there, in seconds.
    """

    position: int = 0
    text: str = ""
    words: int = 0
    duration: float | None = None


class Segments:
    """Turns the deltas of successive connections into interims and finals."""

    def __init__(self) -> None:
        """Begin before the first word.

        Attributes:
            number: Counts the finals; the number of the one that comes next.
            mark: Where a replay begins.
        """
        self.number = 1
        self.mark = Mark()
        self._heard = ""
        self._guess = ""
        self._joint = _Joint.NOTHING
        self._known = ""
        self._given = ""
        self._shown = ""
        self._ends_whole = False
        self._words: list[Word] = []
        self._duration: float | None = None
        self._language: str | None = None
        self._spaced = True

    @property
    def text(self) -> str:
        """Everything that is known of the open segment, and that was not given yet."""
        return mend(after(self._given, self._best()))

    @property
    def text_at_mark(self) -> str:
        """What of the open segment comes before the mark, and was not given yet."""
        return mend(after(self._given, self.mark.text))

    def take(self, delta: Transcript, offset: float) -> Interim | None:
        """Take a delta.

        Args:
            delta: As it came.
            offset: Position in the stream at which its connection began, in seconds.

        Returns:
            What the user is to see, if that has grown.
        """
        # Who knows the times of words does not break them.
        self._ends_whole = bool(delta.words)
        if delta.is_final:
            self._heard += delta.text
            self._guess = ""
            self._words += (
                replace(word, start=word.start + offset, end=word.end + offset)
                for word in delta.words
            )
            if delta.duration is not None:
                self._duration = (self._duration or 0.0) + delta.duration
            self._language = delta.language or self._language
        else:
            self._guess = delta.text
        shown = after(self._given, self._current())
        shown = mend(shown if self._ends_whole else whole_words(shown))
        if len(shown) <= len(self._shown):
            return None
        self._shown = shown
        return Interim(shown, request_id=delta.request_id)

    def set_mark(self, position: int) -> None:
        """What was heard covers all speech before a position."""
        if self._heard:
            self._guess = ""
            self.mark = Mark(position, self._current(), len(self._words), self._duration)
            self._heard = ""
            self._joint = _Joint.NOTHING
        else:
            self.mark = replace(self.mark, position=position)

    def reconnected(self, *, keep_known: bool, overlaps: bool) -> None:
        """Another connection goes on, from the mark.

        Args:
            keep_known: The mark's audio is no longer held: go on from the known text instead.
            overlaps: With `keep_known`: the replay begins in audio whose words are known already.
        """
        self._known = self._best()
        if keep_known:
            # A word that may be broken is heard again, if the replay begins before it.
            known = whole_words(self._known) if overlaps else self._known
            self.mark = replace(self.mark, text=known)
        self._heard = self._guess = ""
        del self._words[self.mark.words :]
        self._duration = self.mark.duration
        self._joint = _Joint.OVERLAP if keep_known and overlaps else _Joint.NEW_CONNECTION

    def finish(self, position: int) -> Final:
        """End the segment: all words before a position have been said."""
        raw = self._best()
        final = self._final(after(self._given, raw), is_complete=True)
        fresh = self._joint is not _Joint.NOTHING and not self._heard
        self.mark = Mark(position)
        self._heard = self._guess = self._known = self._given = ""
        self._words.clear()
        self._duration = None
        if not fresh:
            self._joint = _Joint.NOTHING
        return final

    def interrupt(self) -> Final:
        """End the segment with what is known, because nobody said that this is all.

        A word that may be broken waits for its rest; what comes later stands at the beginning of
        the next segment.
        """
        raw = self._best()
        rest = after(self._given, raw)
        text = rest
        if not self._ends_whole and not text.endswith(_SENTENCE_MARKS):
            text = whole_words(text)
        self._given = raw[: len(raw) - len(rest) + len(text)]
        return self._final(text, is_complete=False)

    # --- inside -------------------------------------------------------------------------------

    def _final(self, text: str, *, is_complete: bool) -> Final:
        # Of words that were given before without times, nobody knows which times are theirs.
        words: Sequence[Word] = self._words if is_complete and not self._given else ()
        self.number += 1
        self._shown = ""
        if text:
            self._spaced = text[-1].isspace()
        return Final(
            mend(text),
            is_complete=is_complete,
            words=tuple(words),
            duration=self._duration,
            language=self._language,
        )

    def _current(self) -> str:
        """What this connection makes of the segment."""
        base, heard = self.mark.text, self._heard + self._guess
        match self._joint:
            case _Joint.OVERLAP:
                return join_overlapping(base, heard)
            case _Joint.NEW_CONNECTION if base:
                return join(base, heard)
            case _Joint.NEW_CONNECTION if not self._spaced:
                return with_space(heard)
            case _:
                return base + heard

    def _best(self) -> str:
        """The text, unless a former connection had heard all of it and more."""
        current = self._current()
        return self._known if self._known.startswith(current) else current
