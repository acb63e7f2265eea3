"""A call in which everything is known beforehand: a scripted caller, a bot that hums.

The words come from the script engine of the local server, so they are certain and cost no time;
the telephone, the frameworks, the STT plugins and the assistant are the real ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.caller import Caller, CallerTiming, Line
from cartesia_ink_plugins.demo.reply_timing import ReplyTiming
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from cartesia_ink_plugins.testing import Script

QUICK = ReplyTiming(first_token=0.05, token=0.001)
IMPATIENT = CallerTiming(answer_after=0.5, patience=4.0, hang_up_after=0.5)

LINES = (
    Line("1_date", "A table for next Friday, please."),
    Line("2_party", "There will be … six of us.", pause=0.5),
    Line("3_time", "At seven thirty."),
    Line("4_name", "My name is Taylor."),
    Line("5_change", "Wait, at eight o'clock.", interrupts=0.5),
    Line("6_yes", "Yes, please."),
    Line("7_bye", "Thank you, goodbye."),
)


def script(lines: tuple[Line, ...] = LINES) -> Script:
    """The lines as the server is to hear them, with half a second of lead for a reply."""
    timing = ScriptTiming(eager_delay=0.25, end_delay=0.75)
    return Script(*(line.text for line in lines), timing=timing)


def caller(lines: tuple[Line, ...] = LINES, *, timing: CallerTiming = IMPATIENT) -> Caller:
    """A caller who says the lines in the sound that the script hears."""
    heard = script(lines)
    audio = heard.audio()
    cut = [tuple(AudioFormat().size(s) for s in span) for span in heard.spans]
    spoken = [audio[start:end] for start, end in cut]
    return Caller(lines, timing=timing, audio=spoken)


@dataclass(slots=True)
class Hum:
    """A voice that hums, 15 ms for each letter, and remembers what it was given."""

    sample_rate: int = BOT_SAMPLE_RATE
    texts: list[str] = field(default_factory=list)

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        self.texts.append(text)
        seconds = 0.015 * len(text)
        time = np.arange(int(seconds * self.sample_rate)) / self.sample_rate
        hum = (0.2 * np.sin(2 * np.pi * 150 * time)).astype(np.float32)
        yield AudioFormat(sample_rate=self.sample_rate).encode(hum)
