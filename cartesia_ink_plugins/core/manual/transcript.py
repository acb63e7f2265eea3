"""The manual transcript: the text between one `finalize` and the next, put together from deltas.

A delta may begin and end anywhere, also inside a word, and is appended verbatim
(https://docs.cartesia.ai/api-reference/stt/manual/websocket). An interim ends with a complete word;
a final is everything.

A connection may be lost inside a segment. Its audio is replayed on another one, from a *checkpoint*
where text and audio are known to agree. The application sees no shrinking text and no text twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cartesia_ink_plugins.core.events import Final, Interim, Transcript, Word
from cartesia_ink_plugins.core.text import (
    Seam,
    join_at,
    join_surrogates,
    remainder,
    with_space,
    without_last_word,
)

_SENTENCE_MARKS = (".", "?", "!", "…")


@dataclass(frozen=True, slots=True)
class ManualCheckpoint:
    """Where text and audio agree.

    Attributes:
        position: In the stream; the text covers all speech of the segment before it.
        text: Of the segment up to there.
        word_count: Words with times that came up to there.
        duration: Of the transcripts up to there, in seconds.
    """

    position: int = 0
    text: str = ""
    word_count: int = 0
    duration: float | None = None


class ManualTranscript:
    """Turns the deltas of successive connections into interims and finals."""

    def __init__(self) -> None:
        """Begin before the first word.

        Attributes:
            number: Of the next final, from 1.
            checkpoint: Where a replay begins.
        """
        self.number = 1
        self.checkpoint = ManualCheckpoint()
        self._received = ""
        self._hypothesis = ""
        self._seam = Seam.NONE
        self._former = ""
        self._delivered = ""
        self._shown = ""
        self._ends_complete = False
        self._word_times: list[Word] = []
        self._duration: float | None = None
        self._language: str | None = None
        self._final_ended_with_space = True

    @property
    def text(self) -> str:
        """The text of the open segment that was not delivered yet."""
        return join_surrogates(remainder(self._delivered, self._best()))

    @property
    def reached(self) -> tuple[int, int]:
        """How far the text has come: number of the next final, characters of the segment."""
        return self.number, len(self._best())

    @property
    def text_at_checkpoint(self) -> str:
        """The text of the open segment before the checkpoint that was not delivered yet."""
        return join_surrogates(remainder(self._delivered, self.checkpoint.text))

    def receive(self, delta: Transcript, offset: float) -> Interim | None:
        """Take a delta.

        Args:
            delta: As it came.
            offset: Position in the stream at which its connection began, in seconds.

        Returns:
            What the application receives, if the text has grown.
        """
        # A model that reports words with times does not break them.
        self._ends_complete = bool(delta.words)
        if delta.is_final:
            self._received += delta.text
            self._hypothesis = ""
            self._word_times += (
                replace(word, start=word.start + offset, end=word.end + offset)
                for word in delta.words
            )
            if delta.duration is not None:
                self._duration = (self._duration or 0.0) + delta.duration
            self._language = delta.language or self._language
        else:
            self._hypothesis = delta.text
        shown = remainder(self._delivered, self._current())
        shown = join_surrogates(shown if self._ends_complete else without_last_word(shown))
        if len(shown) <= len(self._shown):
            return None
        self._shown = shown
        return Interim(shown, request_id=delta.request_id)

    def set_checkpoint(self, position: int) -> None:
        """The text received so far covers all speech before a position."""
        if self._received:
            self._hypothesis = ""
            self.checkpoint = ManualCheckpoint(
                position, self._current(), len(self._word_times), self._duration
            )
            self._received = ""
            self._seam = Seam.NONE
        else:
            self.checkpoint = replace(self.checkpoint, position=position)

    def keep_known_text(self, position: int) -> None:
        """The audio before a position is replayed no more: what follows continues the text."""
        self.connection_replaced(keep_known=True, overlaps=False)
        self.checkpoint = replace(self.checkpoint, position=position)

    def connection_replaced(self, *, keep_known: bool, overlaps: bool) -> None:
        """Another connection continues, from the checkpoint.

        Args:
            keep_known: The checkpoint's audio is no longer held: continue the known text instead.
            overlaps: With `keep_known`: the replay begins in audio whose words are known already.
        """
        self._former = self._best()
        if keep_known:
            # A word that may be broken is recognized again, if the replay begins before it.
            known = without_last_word(self._former) if overlaps else self._former
            self.checkpoint = replace(self.checkpoint, text=known)
        self._received = self._hypothesis = ""
        del self._word_times[self.checkpoint.word_count :]
        self._duration = self.checkpoint.duration
        self._seam = Seam.OVERLAP if keep_known and overlaps else Seam.NEW_CONNECTION

    def finish(self, position: int) -> Final:
        """End the segment: all text for the audio before a position has arrived."""
        raw = self._best()
        final = self._final(remainder(self._delivered, raw), is_complete=True)
        fresh = self._seam is not Seam.NONE and not self._received
        self.checkpoint = ManualCheckpoint(position)
        self._received = self._hypothesis = self._former = self._delivered = ""
        self._word_times.clear()
        self._duration = None
        if not fresh:
            self._seam = Seam.NONE
        return final

    def interrupt(self) -> Final:
        """End the segment with the known text, without the server's confirmation that this is all.

        A word that may be broken waits for its rest; text that arrives later is at the beginning of
        the next segment.
        """
        raw = self._best()
        rest = remainder(self._delivered, raw)
        text = rest
        if not self._ends_complete and not text.endswith(_SENTENCE_MARKS):
            text = without_last_word(text)
        self._delivered = raw[: len(raw) - len(rest) + len(text)]
        return self._final(text, is_complete=False)

    # --- inside -------------------------------------------------------------------------------

    def _final(self, text: str, *, is_complete: bool) -> Final:
        # Words that were delivered without times cannot be told from the rest.
        times: Sequence[Word] = self._word_times if is_complete and not self._delivered else ()
        self.number += 1
        self._shown = ""
        if text:
            self._final_ended_with_space = text[-1].isspace()
        return Final(
            join_surrogates(text),
            is_complete=is_complete,
            words=tuple(times),
            duration=self._duration,
            language=self._language,
        )

    def _current(self) -> str:
        """The segment as the present connection has it."""
        base, received = self.checkpoint.text, self._received + self._hypothesis
        is_first = self._seam is Seam.NEW_CONNECTION and not base
        if is_first and not self._final_ended_with_space:
            return with_space(received)
        return join_at(self._seam, base, received)

    def _best(self) -> str:
        """The segment; from a former connection, if that had all of it and more."""
        current = self._current()
        return self._former if self._former.startswith(current) else current
