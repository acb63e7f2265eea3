"""The stall detector: a connection that takes speech and sends no turn event is replaced.

It may also be the VAD that is wrong, and the speech is noise. So each replacement doubles the
patience, and what four connections in a row did not transcribe is taken for noise: the first of it
has left the replay buffer by then.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.vad import EnergyVAD

_MIN_SPEECH = 0.18  # seconds of speech that a server must answer; less may be a click
_NOISE_REPLAYED = 16.0  # seconds of taken-for-noise audio that are kept all the same
_REPLACED_WITHIN = 1.0  # seconds; the detector is asked every half second
_END_GRACE = 3.0  # seconds beyond the server's own time limit of a turn
_MAX_PATIENCE = 320.0  # a factor; 5 s become half an hour
_DOUBTFUL_AFTER = 2  # connections in a row
_NOISE_AFTER = 3  # connections in a row; they are waited for 5, 10 and 20 s


class StallDetector:
    """Follows the turn events of one session.

    Attributes:
        noise_until: Position up to which speech is taken for noise, because nobody transcribed it.
    """

    def __init__(self, vad: EnergyVAD, format: AudioFormat, timeout: float) -> None:
        """Watch from the beginning.

        Args:
            vad: Finds the speech.
            format: Of the audio.
            timeout: Seconds of speech without an event after which a connection has stalled.
        """
        self.noise_until = 0
        self._vad = vad
        self._format = format
        self._timeout = timeout
        self._event_at = 0.0
        self._event_position = 0
        self._patience = 1.0
        self._silent_connections = 0
        self._text_size = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether two connections in a row were replaced for their silence."""
        return self._silent_connections >= _DOUBTFUL_AFTER

    def should_have_answered(self, sent: int, now: float) -> bool:
        """Whether a server that sends nothing more would have been replaced by now."""
        timeout = self._timeout * self._patience + _REPLACED_WITHIN
        return now - max(self._event_at, self._speech_sent_at(sent) or 0.0) > timeout

    def connection_opened(self, position: int, now: float) -> None:
        """A new connection is sent audio from a position on."""
        self._event_position, self._event_at = position, now

    def event_received(self, position: int, now: float, *, text: str, is_end: bool) -> None:
        """A turn event arrived: the server is alive.

        Args:
            position: What it had received.
            now: The time.
            text: Of the open turn.
            is_end: Whether the event ended the turn.
        """
        self._event_position, self._event_at = position, now
        self._silent_connections = 0
        if is_end or len(text) > self._text_size:
            self._patience = 1.0
        self._text_size = len(text)

    def is_stalled(
        self, sent: int, now: float, *, is_open: bool, is_awaiting_replay: bool, end_silence: float
    ) -> bool:
        """Whether the server should have sent an event by now.

        Args:
            sent: Position up to which it was sent audio.
            now: The time.
            is_open: Whether a turn is open.
            is_awaiting_replay: Whether that turn began on another connection.
            end_silence: Seconds of silence after which the server ends a turn in any case.
        """
        # A turn that a server announced has speech: no doubt that an event is due.
        is_certain = is_awaiting_replay and not self.is_doubtful
        patience = 1.0 if is_certain else self._patience
        timeout = self._timeout * patience
        quiet = now - self._event_at
        if quiet < timeout:
            return False
        sent_at = self._speech_sent_at(sent)
        if sent_at is not None:
            return now - sent_at >= timeout
        return is_open and quiet >= (end_silence + _END_GRACE) * patience

    def _speech_sent_at(self, sent: int) -> float | None:
        """When speech was sent that an event must answer; None if there is none."""
        if self._vad.seconds(self._event_position, sent) < _MIN_SPEECH:
            return None
        begun = self._vad.stretches(self._event_position, sent)[0].start
        sent_at = self._event_at + self._format.seconds(begun - self._event_position)
        # The audio may have stopped in between, as that of a muted microphone does.
        return max(sent_at, self._vad.time_of(begun) or 0.0)

    def connection_replaced(self, sent: int, *, is_accepted: bool) -> None:
        """A stalled connection is replaced.

        Args:
            sent: Position up to which it was sent audio.
            is_accepted: Whether it had sent anything at all; if not, it proves nothing.
        """
        self._patience = min(2 * self._patience, _MAX_PATIENCE)
        if not is_accepted:
            return
        self._silent_connections += 1
        if self._silent_connections > _NOISE_AFTER:
            noise = sent - self._format.size(_NOISE_REPLAYED)
            self.noise_until = max(self.noise_until, noise)
