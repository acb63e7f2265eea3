"""The recorded caller: its lines, when it speaks, and the expected booking.

In a checkout the recordings are beside this file, 16 kHz mono, Ogg Opus; `make.py` made them with
the offline voice, higher and slower than the bot's. The wheel does not have them: they are
synthesized on the first use, which takes some seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cartesia_ink_plugins.core.errors import MissingExtraError
from cartesia_ink_plugins.demo.voice import INSTALL, Voice

FOLDER = Path(__file__).parent

SAMPLE_RATE = 16_000
TICK_SECONDS = 0.02
TICK_BYTES = int(SAMPLE_RATE * TICK_SECONDS) * 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the caller.

    Attributes:
        name: Name of the recording.
        text: The text.
        interrupts: Seconds after the bot begins to speak at which the caller interrupts it; None
            waits until the bot is silent.
        pause: Seconds of silence at the "…" in `text`.
    """

    name: str
    text: str
    interrupts: float | None = None
    pause: float | None = None

    @property
    def spoken_text(self) -> str:
        """The text without the "…"."""
        return self.text.replace(" …", "")


LINES: tuple[Line, ...] = (
    Line("1_date", "Hello, I would like to book a table for next Friday, please."),
    Line("2_party", "It is my mother's birthday, so there will be, … six of us.", pause=0.9),
    Line("3_time", "At seven thirty in the evening, please."),
    Line("4_name", "My name is Taylor."),
    Line("5_change", "Wait, could we come at eight o'clock instead?", interrupts=2.0),
    Line("6_yes", "Yes, please."),
    Line("7_bye", "Thank you very much. Goodbye."),
)


def expected_booking(today: date) -> dict[str, Any]:
    """The booking that the lines must lead to on the day `today`."""
    next_monday = today + timedelta(days=7 - today.weekday())
    friday = next_monday + timedelta(days=4)
    return {"date": friday.isoformat(), "time": "20:00", "party_size": 6, "name": "Taylor"}


def recording(line: Line) -> bytes:
    """The audio of a line, 16-bit mono at 16 kHz.

    Raises:
        MissingExtraError: soundfile, or the offline voice, is not installed.
        ValueError: The recording has another format.
    """
    path = FOLDER / f"{line.name}.opus"
    if not path.is_file():
        return _synthesized(line)
    try:
        import soundfile
    except ImportError:
        raise MissingExtraError(f"the recorded caller needs soundfile: {INSTALL}") from None
    samples, sample_rate = soundfile.read(path, dtype="int16")
    if (sample_rate, samples.ndim) != (SAMPLE_RATE, 1):
        raise ValueError(f"{line.name}.opus is not mono at {SAMPLE_RATE} Hz")
    return bytes(samples.astype("<i2").tobytes())


@cache
def _synthesized(line: Line) -> bytes:
    """Synthesize a line with the offline voice, as `make.py` does."""
    from cartesia_ink_plugins.core.audio import AudioFormat
    from cartesia_ink_plugins.demo.caller.make import record

    voice = Voice.load_now()
    try:
        return AudioFormat(sample_rate=SAMPLE_RATE).encode(record(voice, line))
    finally:
        voice.close()


class CallerState(Enum):
    """The state of the caller."""

    LISTENING = "listening"
    SPEAKING = "speaking"
    HUNG_UP = "hung up"


@dataclass(frozen=True, slots=True)
class CallerTiming:
    """The caller's delays, in seconds.

    Attributes:
        answer_after: Silence of the bot before the caller answers.
        patience: Silence of a bot that does not answer before the caller goes on.
        hang_up_after: Silence after the answer to the last line before the caller hangs up.
    """

    answer_after: float = 1.2
    patience: float = 20.0
    hang_up_after: float = 1.2


@dataclass(slots=True)
class Spoken:
    """A line that was spoken; times are seconds since the start of the call.

    Attributes:
        line: The line.
        start: Time of its first sound.
        end: Time of its last sound; None until then.
    """

    line: Line
    start: float
    end: float | None = None


class Caller:
    """Plays the lines into a call, in ticks of 20 ms, and waits for the bot between them.

    It has no clock and no event loop, so a test can run a call faster than real time.
    """

    def __init__(
        self,
        lines: Sequence[Line] = LINES,
        *,
        timing: CallerTiming | None = None,
        greeted: bool = True,
        audio: Sequence[bytes] | None = None,
    ) -> None:
        """Create a caller.

        Args:
            lines: The lines.
            timing: Delays.
            greeted: Whether the bot speaks first; otherwise the first line is played at once.
            audio: Recordings of the lines instead of those of the package.
        """
        recordings = audio if audio is not None else [recording(line) for line in lines]
        self._next = deque(zip(lines, recordings, strict=True))
        self._timing = timing or CallerTiming()
        self._playing: Iterator[bytes] = iter(())
        self._ticks = 0
        self._quiet = 0.0
        self._bot_spoke_for = 0.0
        self._answered = not greeted
        self._last_sound = 0.0
        self.state = CallerState.LISTENING
        self.spoken: list[Spoken] = []

    @property
    def now(self) -> float:
        """Seconds of the call so far."""
        return self._ticks * TICK_SECONDS

    def tick(self, *, bot_speaking: bool) -> bytes:
        """Return the next 20 ms of speech or silence.

        Args:
            bot_speaking: Whether the bot is audible in this tick.

        Returns:
            640 bytes of 16-bit mono audio at 16 kHz.
        """
        self._listen(bot_speaking)
        if self.state is CallerState.LISTENING and self._wants_to_speak():
            self._speak()
        self._ticks += 1
        if self.state is CallerState.SPEAKING:
            chunk = next(self._playing, None)
            if chunk is not None:
                return chunk
            self._fall_silent()
        return bytes(TICK_BYTES)

    def _listen(self, bot_speaking: bool) -> None:
        if not bot_speaking:
            self._quiet += TICK_SECONDS
            return
        if self._quiet > self._timing.answer_after or not self._bot_spoke_for:
            self._bot_spoke_for = 0.0
        self._quiet = 0.0
        self._bot_spoke_for += TICK_SECONDS
        self._answered = True

    def _wants_to_speak(self) -> bool:
        if not self._next:
            waited = self._timing.hang_up_after if self._answered else self._timing.patience
            if self._quiet >= waited:
                self.state = CallerState.HUNG_UP
            return False
        line, _ = self._next[0]
        if line.interrupts is not None and self._bot_spoke_for >= line.interrupts:
            return True
        if not self._answered:
            return self._quiet >= self._timing.patience
        return self._quiet >= self._timing.answer_after

    def _speak(self) -> None:
        line, audio = self._next.popleft()
        start, end = _sound(audio)
        self.spoken.append(Spoken(line, self.now + start))
        self._last_sound = self.now + end
        self._playing = _ticks(audio)
        self._answered = False
        self.state = CallerState.SPEAKING

    def _fall_silent(self) -> None:
        self.spoken[-1].end = self._last_sound
        self._quiet = 0.0
        # An interrupted bot may be audible for a moment: that is not an answer.
        self._bot_spoke_for = 0.0
        self._answered = False
        self.state = CallerState.LISTENING


def _ticks(audio: bytes) -> Iterator[bytes]:
    for start in range(0, len(audio), TICK_BYTES):
        yield audio[start : start + TICK_BYTES].ljust(TICK_BYTES, b"\0")


def _sound(audio: bytes) -> tuple[float, float]:
    """Start and end of the sound in a recording, in seconds."""
    samples = np.abs(np.frombuffer(audio, "<i2").astype(np.int32))
    loud = np.flatnonzero(samples > max(200, int(samples.max(initial=0)) // 50))
    if not loud.size:
        return 0.0, len(audio) / 2 / SAMPLE_RATE
    return float(loud[0]) / SAMPLE_RATE, float(loud[-1] + 1) / SAMPLE_RATE
