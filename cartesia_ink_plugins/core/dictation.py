"""Dictation: one orderly run of finals, made of what several connections said and were asked.

What `Conversation` and `Recovery` are to turns: it knows the texts (`Segments`), the calls of
`finalize` that are not answered yet (`Flushes`), and from the audio itself (`Voice`) which part of
it the texts are about. What precedes that leaves the ledger.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from cartesia_ink_plugins.core.events import Final, Interim, Timing
from cartesia_ink_plugins.core.flushes import Flushes
from cartesia_ink_plugins.core.link import Link, LinkState
from cartesia_ink_plugins.core.segment import Segments
from cartesia_ink_plugins.core.transcripts import Transcript
from cartesia_ink_plugins.core.voice import Voice

_FINALIZE = "finalize"

logger = logging.getLogger(__name__)


class Dictation:
    """The words of a manual session, whatever becomes of its connections."""

    def __init__(self, link: Link, epoch: float) -> None:
        """Stand between the audio and the words; `epoch` is the wall-clock time at `now` = 0."""
        self.segments = Segments()
        self.flushes = Flushes()
        self.voice = Voice(link.format, epoch)
        self._link = link
        self._settled = 0  # where the last complete final ended
        self._begun = 0  # where the last final ended
        self._opened_from = 0
        self._lost_at = 0

    @property
    def number(self) -> int:
        """The number that the final of a `finalize` called now has."""
        return self.segments.number + len(self.flushes)

    @property
    def is_finalized(self) -> bool:
        """Whether nothing was handed in since the last final, and nothing is under way."""
        return not self.flushes and self._settled == self._link.ledger.end

    @property
    def is_owed(self) -> bool:
        """Whether the server has still to say something about the audio."""
        spoke = self.voice.spoke(self.segments.mark.position, self._link.ledger.end)
        return bool(self.flushes or self._link.backlog or spoke)

    @property
    def resume_at(self) -> int:
        """The stream position from which the next connection is sent audio."""
        return max(self.segments.mark.position, self._link.ledger.start)

    @property
    def text_before_resume(self) -> str:
        """The text of the open segment that `resume_at` comes after."""
        segments = self.segments
        missing = self._link.ledger.start > segments.mark.position
        return segments.text if missing else segments.text_at_mark

    # --- connections --------------------------------------------------------------------------

    def reconnected(self, now: float) -> int:
        """There is a connection, the first or another one; what waits for an answer waits for it.

        Returns:
            The position from which it is to be sent audio.
        """
        link, held = self._link, self._link.ledger.start
        if link.accounts.connections:
            missing = held > self.segments.mark.position
            self.segments.reconnected(keep_known=missing, overlaps=held < self._lost_at)
        self._opened_from = self.resume_at
        self._set_barrier()
        self.flushes.reconnected(self.resume_at, link.format.byte_rate * link.pacer.rate, now)
        return self.resume_at

    def lost(self) -> None:
        """The connection is gone."""
        self._lost_at = max(self._lost_at, self._link.sent)
        self.flushes.lost()
        self._set_barrier()

    # --- commands -----------------------------------------------------------------------------

    def finalize(self, timeout: float, deadline: float) -> int:
        """Finalize all audio so far; a second call at the same place means the same final.

        Args:
            timeout: Seconds that the answer may take once the audio is sent.
            deadline: When it is given up.

        Returns:
            The number of its final.
        """
        position = self._link.ledger.end
        if self.flushes.last != position:
            self.flushes.add(position, timeout, deadline)
        return self.number - 1

    def speak(self, now: float) -> None:
        """Say `finalize` where the audio before it was sent, then let the audio after it go."""
        link = self._link
        self._set_barrier()
        while (
            link.state is LinkState.OPEN
            and (flush := self.flushes.unsent)
            and link.sent >= flush.position
        ):
            link.actions.append(_FINALIZE)
            flush.sent = True
            self._set_barrier()
            link.pump(now)

    # --- words --------------------------------------------------------------------------------

    def take(self, delta: Transcript, now: float) -> list[Interim]:
        """Take a delta; what the application is to see is often nothing."""
        link = self._link
        interim = self.segments.take(delta, link.format.seconds(self._opened_from))
        settled = self.voice.settled(self.segments.mark.position, link.heard_by_server(now))
        if settled is not None and not self.flushes:
            self._mark(settled)
        if interim is None:
            return []
        return [replace(interim, timing=self._timing(link.sent, is_over=False))]

    def answered(self) -> list[Final]:
        """The server says `flush_done`; nothing comes of it when nobody had asked."""
        position = self.flushes.answered()
        return [] if position is None else [self.end(position, is_complete=True)]

    def end(self, position: int, *, is_complete: bool) -> Final:
        """End the open segment at a position; it is complete when all its words were said."""
        timing, segments = self._timing(position, is_over=True), self.segments
        final = segments.finish(position) if is_complete else segments.interrupt()
        self._begun = position
        if is_complete:
            self._settled = position
            self._link.ledger.settle(position)
        else:
            logger.info("final %d is not confirmed by the server", timing.turn)
        return replace(final, timing=timing)

    def forget(self) -> None:
        """Expect no answer any more to what was asked."""
        self.flushes.clear()

    def last(self, request_id: str | None, *, is_complete: bool) -> list[Final]:
        """The words known so far, because nothing more will be said."""
        finals = []
        while self.flushes:
            finals.append(self.end(self.flushes.take(), is_complete=is_complete))
        if self.segments.text:
            last = self.end(self._link.ledger.end, is_complete=is_complete)
            finals += [last] if last.text else []
        return [replace(final, request_id=request_id) for final in finals]

    def pass_silence(self, now: float) -> None:
        """Let go of audio in which there was nothing to hear."""
        heard = self._link.heard_by_server(now)
        passed = self.voice.passed(self.segments.mark.position, heard)
        if passed is not None and not self.flushes:
            self._mark(passed)

    # --- inside -------------------------------------------------------------------------------

    def _set_barrier(self) -> None:
        flush = self.flushes.unsent
        self._link.barrier = flush.position if flush else None

    def _mark(self, position: int) -> None:
        """The words up to a position are known, or there were none: a replay begins there."""
        if position > self.segments.mark.position:
            self.segments.set_mark(position)
            self._link.ledger.settle(position)

    def _timing(self, position: int, *, is_over: bool) -> Timing:
        return self.voice.timing(self.segments.number, self._begun, position, is_over=is_over)
