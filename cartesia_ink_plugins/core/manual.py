"""A manual-finalize session, without IO: the caller says when speech is over.

    audio ─▶ ... ─▶ finalize ─▶ transcripts (deltas) ─▶ flush_done ─▶ Final

`Link` moves the audio over as many connections as it takes, `Dictation` makes finals of deltas and
says `finalize` at its place in the audio, `Lifecycle` knows what becomes of connections; the
session bounds every wait. Every method that can change something takes `now`, and the driver does
as is said of `TurnsSession`.

https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.dictation import Dictation
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
    Final,
    Interim,
    Malformed,
    Unknown,
    decode,
)
from cartesia_ink_plugins.core.lifecycle import Lifecycle
from cartesia_ink_plugins.core.link import Link, LinkState
from cartesia_ink_plugins.core.manual_options import ManualOptions
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.pacing import Jitter
from cartesia_ink_plugins.core.transcripts import Done, FlushDone, Transcript

logger = logging.getLogger(__name__)

_CLOSE = "close"
_CLOSES_WITHIN = 1.0


class ManualSession:
    """One stream over `/stt/websocket`, whatever becomes of its connections.

    Attributes:
        options: What the next connection asks for.
        life: How it starts, loses connections and finishes, as on every endpoint.
        link: The audio, and the connection it goes over.
        dictation: The words.
        irregular: How often the server sent what it should not have, by kind.
    """

    def __init__(
        self,
        options: ManualOptions,
        resilience: Resilience,
        *,
        jitter: Jitter,
        epoch: float = 0.0,
    ) -> None:
        """Prepare; nothing happens before `life.start` or the first audio.

        Args:
            options: What each connection asks for.
            resilience: How hard to fight for the caller's words.
            jitter: Returns a number from 0 to 1, to spread redials.
            epoch: Wall-clock time at `now` = 0, in seconds; speech times are given on that clock.
        """
        self.options = options
        self.link = Link(options.format, resilience, jitter)
        self.dictation = Dictation(self.link, epoch)
        self.life: Lifecycle[Interim | Final] = Lifecycle(
            self.link, self.dictation, resilience, _CLOSE
        )
        self.irregular: dict[str, int] = {}
        self._drain_timeout = resilience.drain_timeout

    @property
    def deadline(self) -> float:
        """When `tick` must be called next; infinity when only the driver can say something."""
        return min(self.life.deadline, self.dictation.flushes.deadline)

    # --- what the application does ------------------------------------------------------------

    def send_audio(self, pcm: bytes, now: float) -> None:
        """Take audio: whole samples in the format of the options.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The bytes are not whole samples.
        """
        if self.life.admit(pcm, now):
            self.dictation.voice.hear(pcm, now)
            self.link.take(pcm, now)

    def finalize(self, now: float, timeout: float | None = None) -> int:
        """Say that speech is over; a `Final` with the words before this place follows.

        Without audio since the last one it is empty and follows at once. A second call at the same
        place means the same final.

        Args:
            now: The time.
            timeout: Seconds to wait once the audio is sent; after that the final has what is known.

        Returns:
            The number of the final, as in its `timing.turn`.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The timeout is not positive.
        """
        self.life.check_open("finalize")
        if timeout is not None and timeout <= 0:
            raise UsageError(f"timeout: {timeout} is not positive")
        dictation = self.dictation
        if dictation.is_finalized:
            self._tell([dictation.end(self.link.ledger.end, is_complete=True)])
            return dictation.number - 1
        wait = self._drain_timeout if timeout is None else timeout
        number = dictation.finalize(wait, now + wait + self.life.backlog_seconds)
        if self.link.state is LinkState.RESTING:
            self.link.dial(now)
        self.life.speak(now)
        return number

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Expect other words from the next pause on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many, or the model takes none.
        """
        options = replace(self.options, keyterms=keyterms)
        if options != self.options:
            self.options = options
            self.life.options_changed(now)

    def set_epoch(self, epoch: float) -> None:
        """Give speech times on another clock from now on: its time at `now` = 0, in seconds."""
        self.dictation.voice.epoch = epoch

    # --- what the network does ----------------------------------------------------------------

    def opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; this endpoint does not say `connected`."""
        self.life.events.append(Connected(request_id))
        self.life.opened(now, request_id)

    def receive(self, data: str | bytes, now: float) -> None:
        """One message came."""
        self.link.heard(now)
        if self.link.state is not LinkState.OPEN:
            return
        match message := decode(data):
            case Transcript():
                self._accepted()
                self._tell(self.dictation.take(message, now))
            case FlushDone():
                self._accepted()
                finals = self.dictation.answered()
                if not finals:
                    self._count("flush_done without finalize")
                self._tell(finals)
            case Done() if self.life.is_close_sent:
                # Every word was said; the server closes, or else we do.
                self._accepted()
                self._tell(self.dictation.last(self.life.request_id, is_complete=True))
                self.life.finish_within(now, _CLOSES_WITHIN)
            case ErrorMessage():
                self.life.error(message, now)
            case Malformed() | Unknown():
                self._count(message.why)
            case _:
                self._count(f"{message.type} unasked")

    # --- what the clock does ------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the clock; call it at `deadline`, or any time."""
        beats = self.life.tick(now)
        self._give_up_late(now)
        if beats:
            self._beat(now)

    def _beat(self, now: float) -> None:
        """What has to be looked at every half second."""
        if self.link.state is LinkState.OPEN and not self.link.backlog:
            self.life.fill(now, in_turn=False)
            self.dictation.pass_silence(now)
            self.life.renew(now)

    def _give_up_late(self, now: float) -> None:
        """Answer for the server where it does not answer in time."""
        late = []
        while flush := self.dictation.flushes.late(now):
            self._tell([self.dictation.end(flush.position, is_complete=False)])
            late.append(flush)
        if any(flush.sent for flush in late) and self.link.state is LinkState.OPEN:
            # What is late on this connection cannot be told from what is not.
            self.life.drop("no answer to finalize", now)
        elif late:
            self.life.speak(now)

    # --- inside -------------------------------------------------------------------------------

    def _accepted(self) -> None:
        self.link.progress()
        self.life.is_accepted = True

    def _tell(self, events: Sequence[Interim | Final]) -> None:
        request_id = self.life.request_id
        self.life.events += (replace(event, request_id=request_id) for event in events)

    def _count(self, what: str) -> None:
        if what not in self.irregular:
            logger.info("unexpected message: %s", what)
        self.irregular[what] = self.irregular.get(what, 0) + 1
