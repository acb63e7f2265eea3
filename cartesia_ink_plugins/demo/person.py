"""A person at a microphone, as the caller of a call."""

from __future__ import annotations

from collections.abc import Callable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.vad import EnergyVAD, Speech
from cartesia_ink_plugins.demo.caller import (
    SAMPLE_RATE,
    TICK_BYTES,
    TICK_SECONDS,
    CallerState,
    Line,
    Spoken,
)
from cartesia_ink_plugins.demo.journal import CallEvent, Note

# A microphone that is later than 0.5 s has its gap filled with silence.
_LATE_BYTES = int(SAMPLE_RATE * 0.5) * 2
# Echo and output latency after the bot has stopped, in seconds.
_ECHO_SECONDS = 0.5


class Person:
    """Takes the place of the recorded caller.

    The lines are not known beforehand: each turn is one, and the VAD tells its start and end.

    Attributes:
        state: `HUNG_UP` after the call.
        spoken: A line for each turn.
    """

    def __init__(self, read: Callable[[], bytes], *, interrupts: bool = True) -> None:
        """Create a caller.

        Args:
            read: Returns the microphone's audio since its last call.
            interrupts: Whether the microphone is open while the bot speaks.
        """
        self.state = CallerState.SPEAKING
        self.spoken: list[Spoken] = []
        self._read = read
        self._interrupts = interrupts
        self._vad = EnergyVAD(AudioFormat(sample_rate=SAMPLE_RATE))
        self._ticks = 0
        self._given = 0
        self._bot_spoke: float | None = None

    @property
    def now(self) -> float:
        """Seconds of the call so far."""
        return self._ticks * TICK_SECONDS

    def tick(self, *, bot_speaking: bool) -> bytes:
        """Return the microphone's audio since the last tick.

        Args:
            bot_speaking: Whether the bot is audible in this tick.

        Returns:
            16-bit mono audio at 16 kHz; 20 ms on average.
        """
        audio = self._read()
        if self._ticks == 0:
            audio = b""  # from before the call
        self._ticks += 1
        if bot_speaking:
            self._bot_spoke = self.now
        late = self._ticks * TICK_BYTES - self._given - len(audio)
        if late > _LATE_BYTES:
            audio += bytes(late)
        if self._bot_is_audible() and not self._interrupts:
            audio = bytes(len(audio))
        self._given += len(audio)
        self._vad.audio_received(audio, self.now)
        return audio

    def follow(self, note: Note) -> None:
        """Follow the events of the call.

        Args:
            note: Entry of the journal.
        """
        match note.what:
            case CallEvent.TURN_START:
                speech = self._last_speech()
                start = self._time(speech.start) if speech else note.at
                if self.spoken:
                    start = max(start, self.spoken[-1].end or start)
                line = Line("", "", interrupts=0.0 if self._bot_is_audible() else None)
                self.spoken.append(Spoken(line, start))
            case CallEvent.TURN_END if self.spoken and self.spoken[-1].end is None:
                speech = self._last_speech()
                turn = self.spoken[-1]
                turn.end = max(turn.start, self._time(speech.end) if speech else note.at)

    def _bot_is_audible(self) -> bool:
        return self._bot_spoke is not None and self.now - self._bot_spoke < _ECHO_SECONDS

    def _last_speech(self) -> Speech | None:
        return self._vad.last(self._given)

    def _time(self, position: int) -> float:
        time = self._vad.time_of(position)
        return self.now if time is None else time
