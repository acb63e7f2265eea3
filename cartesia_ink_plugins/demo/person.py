"""A person on the telephone, who is heard by a microphone and does as he likes."""

from __future__ import annotations

from collections.abc import Callable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.vad import EnergyVAD, Speech
from cartesia_ink_plugins.demo.caller import (
    SAMPLE_RATE,
    TICK_BYTES,
    TICK_SECONDS,
    Line,
    Mood,
    Spoken,
)
from cartesia_ink_plugins.demo.journal import Happening, Note

# What a microphone does not give for longer than this is taken to be silence.
_LATE_BYTES = int(SAMPLE_RATE * 0.5) * 2
# A room rings on, and loudspeakers are late, when the bot has fallen silent.
_RINGING_SECONDS = 0.5


class Person:
    """Stands where the recorded caller stands.

    What is said is not known beforehand, so a line is what is heard between the start and the end
    of a turn; when it began and ended is told by the sound itself.

    Attributes:
        mood: Gone once the call is over for him.
        spoken: A line for each turn.
    """

    def __init__(self, read: Callable[[], bytes], *, interrupts: bool = True) -> None:
        """Lift the receiver.

        Args:
            read: Gives what the microphone has heard since the last call.
            interrupts: He is also heard while the bot speaks.
        """
        self.mood = Mood.SPEAKING
        self.spoken: list[Spoken] = []
        self._read = read
        self._interrupts = interrupts
        self._clock = EnergyVAD(AudioFormat(sample_rate=SAMPLE_RATE))
        self._ticks = 0
        self._given = 0
        self._bot_spoke: float | None = None

    @property
    def now(self) -> float:
        """Seconds of the call so far."""
        return self._ticks * TICK_SECONDS

    def tick(self, *, bot_speaking: bool) -> bytes:
        """What the microphone has heard lately.

        Args:
            bot_speaking: Whether the bot can be heard in this tick.

        Returns:
            16-bit mono audio at 16 kHz; 20 ms in the mean.
        """
        heard = self._read()
        if self._ticks == 0:
            heard = b""  # that was before the call
        self._ticks += 1
        if bot_speaking:
            self._bot_spoke = self.now
        late = self._ticks * TICK_BYTES - self._given - len(heard)
        if late > _LATE_BYTES:
            heard += bytes(late)
        if self._bot_is_heard() and not self._interrupts:
            heard = bytes(len(heard))
        self._given += len(heard)
        self._clock.audio_received(heard, self.now)
        return heard

    def follow(self, note: Note) -> None:
        """See what happens in the call.

        Args:
            note: From the journal.
        """
        match note.what:
            case Happening.TURN_START:
                speech = self._last_speech()
                start = self._time(speech.start) if speech else note.at
                if self.spoken:
                    start = max(start, self.spoken[-1].end or start)
                line = Line("", "", interrupts=0.0 if self._bot_is_heard() else None)
                self.spoken.append(Spoken(line, start))
            case Happening.TURN_END if self.spoken and self.spoken[-1].end is None:
                speech = self._last_speech()
                turn = self.spoken[-1]
                turn.end = max(turn.start, self._time(speech.end) if speech else note.at)

    def _bot_is_heard(self) -> bool:
        return self._bot_spoke is not None and self.now - self._bot_spoke < _RINGING_SECONDS

    def _last_speech(self) -> Speech | None:
        return self._clock.last(self._given)

    def _time(self, position: int) -> float:
        time = self._clock.time_of(position)
        return self.now if time is None else time
