"""A short replay of a long turn, and how its text is joined with the text that is known.

Text is append-only, so each `turn.update` tells what is settled up to a recent position. After a
loss only the last seconds are replayed, with a margin, and the new connection sends words that are
known already: some from before the update (the *lead*), then those that followed it (the *tail*).
Only where both are recognized again, in order and in one place, is the overlap removed. In any
doubt the whole turn is replayed from its checkpoint, which takes longer and is always right.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from cartesia_ink_plugins.core.events import TurnEnd, TurnEvent, TurnResume, TurnStart
from cartesia_ink_plugins.core.text import normalized, without_prefix
from cartesia_ink_plugins.core.turns.speech import SpeechTracker

# Counts of words.
_MIN_TAIL = 3  # with a lead of one word or more, four words in a row are no coincidence
_MAX_LEAD = 20  # more are not spoken in the margin
_MAX_EXTRA = 12  # without a match beyond the tail, after which none is expected any more

_MAX_UPDATES = 64  # a count; updates come two to four times a second

# Seconds of audio.
_MIN_SPEECH = 1.5  # in front of an update: the lead, and the lag of the recognizer
_MAX_MARGIN = 6.0  # within which that much speech must be found
_MIN_SAVED = 4.0  # of replay; less is not worth the risk of a second one


@dataclass(frozen=True, slots=True)
class SettledText:
    """What a `turn.update` settled: the text of the turn covers the speech before a position."""

    position: int
    text: str


class Overlap:
    """The known text that a short replay is expected to repeat."""

    __slots__ = ("_known", "_lead", "_skipped", "_tail", "text")

    def __init__(self, text: str, settled: SettledText) -> None:
        """Expect the end of a text.

        Args:
            text: All that is known of the turn.
            settled: Its words are the lead, those behind it are the tail.
        """
        self.text = text
        self._lead = normalized(settled.text)
        self._tail = normalized(text)[len(self._lead) :]
        self._skipped: int | None = None

    def join(self, transcript: str) -> str | None:
        """Join the known text with that of the replay; None while the overlap is not found."""
        tokens = transcript.split()
        if self._skipped is None:
            self._skipped = self._find(normalized(transcript))
        if self._skipped is None:
            return None
        return self.text + without_prefix(transcript, tokens[: self._skipped])

    def is_missing(self, transcript: str) -> bool:
        """Whether so much text has no overlap that none is to be expected."""
        return len(transcript.split()) > len(self._tail) + _MAX_EXTRA

    @property
    def is_distinct(self) -> bool:
        """Whether the overlap occurs once in the known text that may be replayed."""
        pattern = [*self._lead[-1:], *self._tail]
        known = [*self._lead[-_MAX_LEAD:], *self._tail]
        places = range(len(known) - len(pattern) + 1)
        return sum(known[at : at + len(pattern)] == pattern for at in places) == 1

    def _find(self, tokens: list[str]) -> int | None:
        """Count the words that are known: the only place where lead and tail match."""
        size = len(self._tail)
        found = [
            at + size
            for at in range(1, min(len(tokens) - size, len(self._lead)) + 1)
            if tokens[at : at + size] == self._tail and self._matches_lead(tokens[:at])
        ]
        return found[0] if len(found) == 1 else None

    def _matches_lead(self, tokens: list[str]) -> bool:
        """Whether words end the lead; the first may be a fragment, if there are more."""
        expected = self._lead[len(self._lead) - len(tokens) :]
        if len(tokens) == 1:
            return tokens == expected
        return tokens[1:] == expected[1:]


class Repeat:
    """Text of turns that are over, which a replay may repeat before it goes on.

    Where it is not known at which of several pauses a turn ended, the replay begins at the first.
    """

    __slots__ = ("_known", "_repeated", "_skipped", "_start")

    def __init__(self, text: str) -> None:
        """Expect the end of a text; nothing if it is empty.

        Args:
            text: Of the turns that are over.
        """
        self._known = normalized(text)
        self._repeated: list[str] = []  # in turns of the new connection that are over
        self._start: TurnStart | None = None
        self._skipped: int | None = None  # words of the first turn that is new

    @property
    def is_pending(self) -> bool:
        """Whether a turn has begun all of whose text so far may be repeated."""
        return self._start is not None

    def new(self, event: TurnEvent) -> list[TurnEvent]:
        """Return what is new of an event; a start is held back until some of its turn is new."""
        if not self._known:
            return [event]
        match event:
            case TurnStart() if self._skipped is None:
                self._start = event
                return []
            case TurnStart() | TurnResume():
                return [] if self._start else [event]
        if self._skipped is None:
            self._skipped = self._find([*self._repeated, *normalized(event.transcript)])
        held = [self._start] if self._start else []
        if isinstance(event, TurnEnd) or self._skipped is not None:
            self._start = None
        if self._skipped is None:
            if isinstance(event, TurnEnd):
                self._repeated += normalized(event.transcript)
            return []
        tokens = event.transcript.split()[: self._skipped]
        if isinstance(event, TurnEnd):
            self._known = []
        return [*held, replace(event, transcript=without_prefix(event.transcript, tokens))]

    def _find(self, tokens: list[str]) -> int | None:
        """Count the words of the present turn that are known; None while all of them may be."""
        sizes = range(len(self._known), 0, -1)
        if not tokens or any(self._known[-size:][: len(tokens)] == tokens for size in sizes):
            return None
        size = next((s for s in sizes if self._known[-s:] == tokens[:s]), 0)
        return max(0, size - len(self._repeated))


def is_behind(text: str, shown: str) -> bool:
    """Whether text of a turn has not yet reached the end of what was shown of the turn.

    Args:
        text: As another connection recognized it so far; some words may differ.
        shown: What the application has.
    """
    if shown.startswith(text):
        return text != shown
    tokens, known = normalized(text), normalized(shown)
    return len(tokens) < len(known) and tokens[-1:] != known[-1:]


def rest_of(shown: str, text: str) -> str:
    """Return the words that were shown and that text of another connection, behind it, lacks."""
    return " ".join(shown.split()[len(text.split()) :])


def extended(shown: str, text: str) -> str:
    """Return text that was shown with what another connection recognized behind it.

    Args:
        shown: What the application has; it stays, also where the text differs.
        text: The whole turn, as the other connection has it so far.
    """
    if text.startswith(shown):
        return text
    if shown.startswith(text):
        return shown
    known, tokens = normalized(shown), normalized(text)
    skipped = len(known)  # if all of them were recognized differently
    for size in range(min(len(known), len(tokens), _MAX_LEAD), 0, -1):
        places = range(size, len(tokens) + 1)
        found = [at for at in places if tokens[at - size : at] == known[-size:]]
        if found:
            skipped = min(found, key=lambda at: abs(at - len(known)))
            break
    return shown + without_prefix(text, text.split()[:skipped])


class UpdateHistory:
    """The updates of the open turn, as far as a short replay may need them."""

    __slots__ = ("_updates",)

    def __init__(self) -> None:
        """Begin without an update."""
        self._updates: deque[SettledText] = deque(maxlen=_MAX_UPDATES)

    def add(self, position: int, text: str) -> None:
        """A `turn.update` covers the speech before a position."""
        self._updates.append(SettledText(position, text))

    def clear(self) -> None:
        """The turn is over, or its updates have served once."""
        self._updates.clear()

    def short_replay(
        self, text: str, checkpoint: int, speech: SpeechTracker
    ) -> tuple[int, Overlap] | None:
        """Choose where a short replay of a long turn begins.

        Args:
            text: All that is known of the turn.
            checkpoint: Where the long replay begins.
            speech: The speech in the audio.

        Returns:
            The position, and what its text must overlap; None when only the long replay is safe.
        """
        word_count = len(text.split())
        for settled in reversed(self._updates):
            overlap = Overlap(text, settled)
            if word_count - len(settled.text.split()) < _MIN_TAIL or not overlap.is_distinct:
                continue
            position = speech.position_before(settled.position, _MIN_SPEECH, _MAX_MARGIN)
            if position is None or position - checkpoint < speech.size(_MIN_SAVED):
                return None
            return position, overlap
        return None
