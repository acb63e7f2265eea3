"""Which part of a transcript was said while the user was muted."""

from __future__ import annotations

from cartesia_ink_plugins.core.events import Timing

# Seconds of speech after the end of a mute that are too short for a word of their own.
_WORD_SECONDS = 0.1
# Seconds of audio after which a word has appeared in the transcript that was being said when the
# mute ended: the rest of the word, and the time that the model takes.
_APPEARS_WITHIN = 0.25


class MutedText:
    """Leaves out of the transcripts of turns what was said under a mute.

    The user aggregator drops what arrives while the user is muted. But what was said before the end
    of the mute may arrive after it, and the transcript of a turn is cumulative.
    """

    def __init__(self) -> None:
        """Nobody was muted yet."""
        self._transcript = ""
        self._cuts: list[tuple[int, int]] = []
        self._muted_from: int | None = None
        self._ended_at: float | None = None
        self._ended_position = 0.0

    @property
    def is_muted(self) -> bool:
        """Whether the user is muted now."""
        return self._muted_from is not None

    def turn_started(self) -> None:
        """Begin a transcript."""
        self._transcript = ""
        self._cuts.clear()
        if self._muted_from is not None:
            self._muted_from = 0

    def mute_started(self) -> None:
        """What is said from now on does not count."""
        self._muted_from = len(self._transcript)

    def mute_ended(self, now: float, position: float) -> None:
        """What is said from now on counts.

        Args:
            now: Wall-clock time.
            position: Seconds of the stream that were handed in so far.
        """
        self._cuts.append((self._muted_from or 0, len(self._transcript)))
        self._muted_from = None
        self._ended_at, self._ended_position = now, position

    def without_muted(self, transcript: str, timing: Timing | None) -> str:
        """What counts of the transcript of the turn so far.

        Args:
            transcript: The whole transcript.
            timing: When the words were said.
        """
        if self._is_under_mute(timing):
            first = self._cuts.pop()[0] if self._cuts else 0
            self._cuts.append((first, len(transcript)))
        self._transcript = transcript
        kept, end = "", 0
        for first, last in self._cuts:
            kept += transcript[end:first]
            end = max(end, last)
            kept += _broken_word(transcript, end) if first < last else ""
        return kept + transcript[end:] if self._cuts else transcript

    def _is_under_mute(self, timing: Timing | None) -> bool:
        """Whether all words so far were said before the last mute ended, or began to be."""
        if self._ended_at is None or timing is None:
            return False
        if timing.speech_end is not None:
            return timing.speech_end < self._ended_at + _WORD_SECONDS
        if timing.speech_start is None or timing.speech_start >= self._ended_at:
            return False
        return timing.position < self._ended_position + _APPEARS_WITHIN


def _broken_word(transcript: str, end: int) -> str:
    """The first part of a word that the end of a mute cuts in two: the whole word counts."""
    known, rest = transcript[:end], transcript[end:]
    if known[-1:].isalnum() and rest[:1].isalnum():
        return known.split()[-1]
    return ""
