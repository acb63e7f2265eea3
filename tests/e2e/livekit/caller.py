"""A caller in a LiveKit room: the demo's recorded caller, through the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from livekit import rtc

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.caller import (
    SAMPLE_RATE,
    TICK_SECONDS,
    Caller,
    CallerState,
    CallerTiming,
)
from tests.livekit.harness import until

TRANSCRIPTION = "lk.transcription"
FINAL = "lk.transcription_final"
STATE = "lk.agent.state"
AGENT_RATE = 24_000
_LOUD = 0.004
# The machine that runs the tests may be busy.
PATIENT = CallerTiming(answer_after=2.0, patience=60.0, hang_up_after=2.0)
_PAUSE_SECONDS = 0.25
_LEAVE_SECONDS = 20.0
# A source that runs dry gives a gap in the middle of a word: it is kept so far ahead, and further
# while the caller speaks. It holds one second.
_AHEAD_SECONDS = 0.3
_SPEAKING_AHEAD_SECONDS = 0.9


@dataclass
class Said:
    """A transcription that was read in the room."""

    who: str
    text: str
    is_final: bool


@dataclass
class RoomCaller:
    """Joins a room, speaks its lines, hears the agent and reads what is transcribed.

    Attributes:
        said: Transcriptions of both sides, in the order in which they were complete.
        agent_sounds: When the agent was heard, in seconds of the call.
        seconds_of_agent: How much of the agent's voice was heard.
        agent_voice: All that came of it, 16-bit mono at `AGENT_RATE`.
        watch: Is told what both sides say, while they say it.
    """

    url: str
    token: str
    caller: Caller = field(default_factory=lambda: Caller(timing=PATIENT))
    sample_rate: int = SAMPLE_RATE
    said: list[Said] = field(default_factory=list)
    agent_sounds: list[float] = field(default_factory=list)
    seconds_of_agent: float = 0.0
    agent_voice: bytearray = field(default_factory=bytearray)
    watch: Callable[[Said], None] = lambda said: None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        self._room = rtc.Room()
        self._room.on("track_subscribed", self._on_track)
        self._room.register_text_stream_handler(TRANSCRIPTION, self._on_text)
        await self._room.connect(self.url, self.token)
        self._source = rtc.AudioSource(self.sample_rate, 1)
        track = rtc.LocalAudioTrack.create_audio_track("voice", self._source)
        # Silence is sent, too: where it is not, a busy room cuts into the first word after it.
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        await self._room.local_participant.publish_track(track, options)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The SDK waits for the room without a limit.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._room.disconnect(), _LEAVE_SECONDS)
        await self._source.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is not None and not isinstance(error, asyncio.CancelledError):
            print(f"\n--- said ---\n{self.transcript()}")

    @property
    def name(self) -> str:
        return self._room.local_participant.identity

    @property
    def agents(self) -> list[str]:
        """The agents in the room."""
        return list(self._room.remote_participants)

    @property
    def own_words(self) -> list[str]:
        """What the agent understood, turn by turn."""
        return [said.text for said in self.said if said.who == self.name and said.is_final]

    @property
    def agent_words(self) -> list[str]:
        """What the agent said, reply by reply."""
        return [said.text for said in self.said if said.who != self.name]

    @property
    def agent_pauses(self) -> list[float]:
        """How long the agent was quiet each time, in seconds, when it had been heard before."""
        pairs = zip(self.agent_sounds, self.agent_sounds[1:], strict=False)
        return [after - before for before, after in pairs if after - before > _PAUSE_SECONDS]

    def transcript(self) -> str:
        """The conversation, for people."""
        return "\n".join(f"{said.who}: {said.text}" for said in self.said if said.is_final)

    async def ask(self, pcm: bytes, answer: str, *, times: int = 6) -> str:
        """Speak until it is answered: on a busy machine a room loses packets, and even people.

        Raises:
            TimeoutError: It was not answered.
        """
        for attempt in range(times):
            await self.speak(pcm)
            try:
                return await self.answered(answer, seconds=10.0)
            except TimeoutError:
                if attempt == times - 1:
                    raise
        raise AssertionError("times is not positive")

    async def converse(self, *, timeout: float = 270.0) -> None:
        """Speak until everything is said and answered."""
        began = self._began = time.monotonic()
        spoken = 0.0
        async with asyncio.timeout(timeout):
            while self.caller.state is not CallerState.HUNG_UP:
                await self._capture(self.caller.tick(bot_speaking=self._agent_speaks()))
                spoken += TICK_SECONDS
                speaking = self.caller.state is CallerState.SPEAKING
                ahead = _SPEAKING_AHEAD_SECONDS if speaking else _AHEAD_SECONDS
                await asyncio.sleep(max(0.0, began + spoken - ahead - time.monotonic()))

    async def speak(self, pcm: bytes) -> None:
        """Speak audio of the caller's sample rate, in real time: the source is kept full."""
        size = AudioFormat(sample_rate=self.sample_rate).size(TICK_SECONDS)
        for position in range(0, len(pcm), size):
            await self._capture(pcm[position : position + size])
        await self._source.wait_for_playout()

    async def _capture(self, pcm: bytes) -> None:
        await self._source.capture_frame(rtc.AudioFrame(pcm, self.sample_rate, 1, len(pcm) // 2))

    async def call(self, method: str) -> str:
        """Call an RPC method of the agent."""
        participant = self._room.local_participant
        return await participant.perform_rpc(
            destination_identity=self.agents[0], method=method, payload=""
        )

    async def meet(self) -> None:
        """Wait for an agent to join."""
        await until(lambda: self.agents, seconds=60.0)

    async def answered(self, text: str, *, seconds: float = 30.0) -> str:
        """Wait until the agent has said something with this text in it; return all it said.

        Raises:
            TimeoutError: It did not.
        """
        await until(lambda: any(text in words for words in self.agent_words), seconds=seconds)
        return next(words for words in self.agent_words if text in words)

    def _agent_speaks(self) -> bool:
        """Whether it is heard, or says that it speaks: an offline voice may stop in between."""
        now = time.monotonic() - self._began
        if self.agent_sounds and now - self.agent_sounds[-1] < _PAUSE_SECONDS:
            return True
        agents = self._room.remote_participants.values()
        return any(agent.attributes.get(STATE) == "speaking" for agent in agents)

    def _on_track(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        self._start(self._hear(track))

    async def _hear(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream.from_track(track=track, sample_rate=AGENT_RATE, num_channels=1)
        async for event in stream:
            self.agent_voice += event.frame.data
            samples = np.frombuffer(event.frame.data, "<i2").astype(np.float32) / 32768
            if np.sqrt(np.mean(samples**2)) > _LOUD:
                self.agent_sounds.append(time.monotonic() - self._began)
                self.seconds_of_agent += event.frame.duration
        await stream.aclose()

    def _on_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._start(self._read(reader, identity))

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        text = ""
        async for piece in reader:
            text += piece
            self.watch(Said(identity, text, is_final=False))
        attributes = reader.info.attributes or {}
        said = Said(identity, text, attributes.get(FINAL) == "true")
        self.said.append(said)
        self.watch(said)

    def _start(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
