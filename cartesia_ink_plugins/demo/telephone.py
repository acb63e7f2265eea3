"""A telephone line between a caller, recorded or a person, and a bot, in real time.

One clock of 20 ms ticks moves both voices, as a sound card does: in each tick 20 ms of the caller
go to the bot and 20 ms of the bot's audio are played. So both voices are recorded in sync, and all
times are on one clock.
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
from cartesia_ink_plugins.demo.caller import SAMPLE_RATE, TICK_SECONDS, CallerState, Spoken
from cartesia_ink_plugins.demo.journal import CallEvent, Journal, Note
from cartesia_ink_plugins.demo.voice import resample

BOT_SAMPLE_RATE = 24_000
"""Sample rate of the bot's voice, in Hz."""

_PAUSE_SECONDS = 0.5  # silence after which the bot has stopped; longer than between two words
_AUDIBLE = 300  # peak of 32767


class Party(Protocol):
    """The calling party: the recorded caller, or a person at a microphone."""

    state: CallerState
    spoken: list[Spoken]

    def tick(self, *, bot_speaking: bool) -> bytes:
        """Return the audio of the next 20 ms; that of a microphone varies in length."""
        ...


class Loudspeaker:
    """The playback buffer of the bot's voice: 16-bit mono at `BOT_SAMPLE_RATE`."""

    def __init__(self) -> None:
        """Create an empty buffer."""
        self._waiting = bytearray()
        self._moved = asyncio.Event()
        self._closed = False
        self._cleared = False

    @property
    def seconds(self) -> float:
        """Seconds of audio in the buffer."""
        return len(self._waiting) / 2 / BOT_SAMPLE_RATE

    def write(self, pcm: bytes) -> None:
        """Append audio."""
        if not self._closed:
            self._waiting += pcm

    def clear(self) -> None:
        """Drop the audio in the buffer."""
        self._waiting.clear()
        self._cleared = True
        self._moved.set()

    def was_cleared(self) -> bool:
        """Return whether `clear` was called since the last call."""
        cleared, self._cleared = self._cleared, False
        return cleared

    def take(self, seconds: float) -> bytes:
        """Remove and return up to `seconds` of audio."""
        size = int(seconds * BOT_SAMPLE_RATE) * 2
        pcm = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._moved.set()
        return pcm

    def close(self) -> None:
        """Drop all audio, now and later; no writer waits."""
        self._closed = True
        self.clear()

    async def wait_below(self, seconds: float) -> None:
        """Wait until the buffer has at most `seconds` of audio."""
        while self.seconds > seconds:
            self._moved.clear()
            await self._moved.wait()


class Telephone:
    """Moves both voices until the caller hangs up.

    Attributes:
        loudspeaker: Playback buffer of the bot's voice.
        journal: The events of the call.
    """

    def __init__(
        self,
        caller: Party,
        *,
        watch: Callable[[Note], None] | None = None,
        play: Callable[[bytes], None] | None = None,
        longest: float = 300.0,
    ) -> None:
        """Connect a caller; nothing happens before `run`.

        Args:
            caller: The calling party.
            watch: Called with every note of the journal.
            play: Called with the bot's audio in real time, 16-bit mono at `BOT_SAMPLE_RATE`.
            longest: Seconds after which the call ends in any case.
        """
        self.caller = caller
        self._play = play
        self._longest = longest
        self.loudspeaker = Loudspeaker()
        self.journal = Journal(lambda: self.now, watch)
        self._began: float | None = None
        self._begun = 0
        self._ended = 0
        self._bot_audible_at: float | None = None
        self._caller_voice = bytearray()
        self._bot_voice = bytearray()

    @property
    def now(self) -> float:
        """Seconds since the call began; 0 before."""
        return time.monotonic() - self._began if self._began is not None else 0.0

    async def run(self, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        """Run the call until the caller hangs up.

        Args:
            deliver: Called with the caller's audio in real time, 16-bit mono at 16 kHz, in pieces
                of about 20 ms.
        """
        self._began = time.monotonic()
        try:
            await self._move_voices(deliver)
        finally:
            self.loudspeaker.close()

    def hang_up(self) -> None:
        """End the call."""
        self.caller.state = CallerState.HUNG_UP

    async def _move_voices(self, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        ticks = 0
        while self.caller.state is not CallerState.HUNG_UP and ticks * TICK_SECONDS < self._longest:
            bot = self.loudspeaker.take(TICK_SECONDS)
            if self._play is not None:
                self._play(bot)
            speaks = _is_audible(bot)
            self._note_bot(speaks)
            speech = self.caller.tick(bot_speaking=speaks)
            self._note_caller()
            self._caller_voice += speech
            self._bot_voice += bot.ljust(int(TICK_SECONDS * BOT_SAMPLE_RATE) * 2, b"\0")
            ticks += 1
            # The audio of this tick is complete when the tick is over.
            await asyncio.sleep(max(0.0, ticks * TICK_SECONDS - self.now))
            if speech:
                await deliver(speech)

    def save(self, path: Path) -> None:
        """Write a stereo WAV file: the caller left, the bot right."""
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

    def _note_bot(self, audible: bool) -> None:
        if self.loudspeaker.was_cleared() and self._bot_audible_at is not None:
            # Audio after this is another reply, even without silence between.
            self.journal.note(CallEvent.BOT_SILENT, at=self._bot_audible_at)
            self._bot_audible_at = None
        if audible:
            if self._bot_audible_at is None:
                self.journal.note(CallEvent.BOT_SPEAKS)
            self._bot_audible_at = self.now
        elif self._bot_audible_at is not None and self.now - self._bot_audible_at > _PAUSE_SECONDS:
            self.journal.note(CallEvent.BOT_SILENT, at=self._bot_audible_at)
            self._bot_audible_at = None

    def _note_caller(self) -> None:
        for spoken in self.caller.spoken[self._begun :]:
            self._begun += 1
            self.journal.note(CallEvent.CALLER_SPEAKS, spoken.line.spoken_text, at=spoken.start)
        for spoken in self.caller.spoken[self._ended :]:
            if spoken.end is not None:
                self._ended += 1
                self.journal.note(CallEvent.CALLER_SPOKE, spoken.line.spoken_text, at=spoken.end)


def _is_audible(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2").astype(np.int32)
    return bool(np.abs(samples).max(initial=0) > _AUDIBLE)
