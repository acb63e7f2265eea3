"""A telephone line between a caller, recorded or a person, and a bot, in real time.

One clock of 20 ms ticks moves both voices, as a sound card does: in each tick the caller's next
20 ms go to the bot and 20 ms of what the bot has written are heard. So the caller knows whether the
bot can be heard, both voices are recorded as they met, and every moment is on one clock.
"""

from __future__ import annotations

import asyncio
import time
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.demo.caller import SAMPLE_RATE, TICK_SECONDS, Mood, Spoken
from cartesia_ink_plugins.demo.journal import Happening, Journal, Note
from cartesia_ink_plugins.demo.voice import resample

BOT_SAMPLE_RATE = 24_000
"""Hz at which the bot's voice is heard."""

# A voice is quiet when nothing was heard for longer than it pauses between two words.
_PAUSE_SECONDS = 0.5
_AUDIBLE = 300  # of 32767


class Party(Protocol):
    """Who calls: the recorded caller, or a person at a microphone."""

    mood: Mood
    spoken: list[Spoken]

    def tick(self, *, bot_speaking: bool) -> bytes:
        """What is said in the next 20 ms; a microphone may give more of it now and less then."""
        ...


class Loudspeaker:
    """What the bot has written and nobody has heard yet: 16-bit mono audio at `BOT_SAMPLE_RATE`."""

    def __init__(self) -> None:
        """Begin with nothing to play."""
        self._waiting = bytearray()
        self._moved = asyncio.Event()
        self._closed = False
        self._cleared = False

    @property
    def seconds(self) -> float:
        """How much is still to be heard."""
        return len(self._waiting) / 2 / BOT_SAMPLE_RATE

    def write(self, pcm: bytes) -> None:
        """Play this after all that was written before."""
        if not self._closed:
            self._waiting += pcm

    def clear(self) -> None:
        """Play nothing of what was written."""
        self._waiting.clear()
        self._cleared = True
        self._moved.set()

    def was_cleared(self) -> bool:
        """Whether it was told to fall silent since this was last asked."""
        cleared, self._cleared = self._cleared, False
        return cleared

    def take(self, seconds: float) -> bytes:
        """Play the next audio; shorter than asked for when there is no more."""
        size = int(seconds * BOT_SAMPLE_RATE) * 2
        pcm = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._moved.set()
        return pcm

    def close(self) -> None:
        """Nobody listens any more: whatever is written is gone, and no writer waits."""
        self._closed = True
        self.clear()

    async def wait_below(self, seconds: float) -> None:
        """Wait until no more than this is still to be heard."""
        while self.seconds > seconds:
            self._moved.clear()
            await self._moved.wait()


class Telephone:
    """Moves both voices until the caller hangs up.

    Attributes:
        loudspeaker: Where the bot's voice goes.
        journal: What happens in the call.
    """

    def __init__(
        self,
        caller: Party,
        *,
        watch: Callable[[Note], None] | None = None,
        hear: Callable[[bytes], None] | None = None,
        longest: float = 300.0,
    ) -> None:
        """Connect a caller; nothing moves before `run`.

        Args:
            caller: Who calls.
            watch: Called with every note of the journal.
            hear: Takes the bot's voice, 16-bit mono at `BOT_SAMPLE_RATE`, as it is to be heard.
            longest: Seconds after which the line goes dead whatever happens.
        """
        self.caller = caller
        self._hear = hear
        self._longest = longest
        self.loudspeaker = Loudspeaker()
        self.journal = Journal(lambda: self.now, watch)
        self._began: float | None = None
        self._told = 0
        self._ended = 0
        self._bot_heard: float | None = None
        self._caller_voice = bytearray()
        self._bot_voice = bytearray()

    @property
    def now(self) -> float:
        """Seconds since the call began; 0 before."""
        return time.monotonic() - self._began if self._began is not None else 0.0

    async def run(self, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        """Hold the call until the caller hangs up.

        Args:
            deliver: Takes what the caller says, 16-bit mono at 16 kHz, when it has been said:
                20 ms of a recorded caller.
        """
        self._began = time.monotonic()
        try:
            await self._move_voices(deliver)
        finally:
            self.loudspeaker.close()

    def hang_up(self) -> None:
        """End the call for the caller, whatever he is doing."""
        self.caller.mood = Mood.GONE

    async def _move_voices(self, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        ticks = 0
        while self.caller.mood is not Mood.GONE and ticks * TICK_SECONDS < self._longest:
            bot = self.loudspeaker.take(TICK_SECONDS)
            if self._hear is not None:
                self._hear(bot)
            speaks = _is_audible(bot)
            self._note_bot(speaks)
            said = self.caller.tick(bot_speaking=speaks)
            self._note_caller()
            self._caller_voice += said
            self._bot_voice += bot.ljust(int(TICK_SECONDS * BOT_SAMPLE_RATE) * 2, b"\0")
            ticks += 1
            # What was said in this tick exists when it is over.
            await asyncio.sleep(max(0.0, ticks * TICK_SECONDS - self.now))
            if said:
                await deliver(said)

    def save(self, path: Path) -> None:
        """Write the call as a stereo WAV file: the caller on the left, the bot on the right."""
        caller = AudioFormat(Encoding.PCM_S16LE, SAMPLE_RATE).decode(bytes(self._caller_voice))
        bot = AudioFormat(Encoding.PCM_S16LE, BOT_SAMPLE_RATE).decode(bytes(self._bot_voice))
        left = resample(caller, SAMPLE_RATE, BOT_SAMPLE_RATE)
        frames = min(len(left), len(bot))
        both = np.stack([left[:frames], bot[:frames]], axis=1)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(BOT_SAMPLE_RATE)
            file.writeframes(AudioFormat().encode(both.reshape(-1)))

    def _note_bot(self, heard: bool) -> None:
        if self.loudspeaker.was_cleared() and self._bot_heard is not None:
            # What is heard next is another reply, even if it follows at once.
            self.journal.note(Happening.BOT_SILENT, at=self._bot_heard)
            self._bot_heard = None
        if heard:
            if self._bot_heard is None:
                self.journal.note(Happening.BOT_SPEAKS)
            self._bot_heard = self.now
        elif self._bot_heard is not None and self.now - self._bot_heard > _PAUSE_SECONDS:
            self.journal.note(Happening.BOT_SILENT, at=self._bot_heard)
            self._bot_heard = None

    def _note_caller(self) -> None:
        for spoken in self.caller.spoken[self._told :]:
            self._told += 1
            self.journal.note(Happening.CALLER_SPEAKS, spoken.line.words, at=spoken.start)
        for spoken in self.caller.spoken[self._ended :]:
            if spoken.end is not None:
                self._ended += 1
                self.journal.note(Happening.CALLER_SPOKE, spoken.line.words, at=spoken.end)


def _is_audible(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2").astype(np.int32)
    return bool(np.abs(samples).max(initial=0) > _AUDIBLE)
