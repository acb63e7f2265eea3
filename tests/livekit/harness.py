"""A real AgentSession with everything around the STT made of plain parts.

The session gets its audio from a `Microphone`, asks an `Llm` that answers at once, has a `Tts` that
speaks a tone, and plays to a `Speaker`. Each part writes down what happened and when.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    Agent,
    AgentSession,
    APIConnectOptions,
    TurnHandlingOptions,
    llm,
    stt,
    tts,
    vad,
)
from livekit.agents.voice import io
from livekit.agents.voice.events import (
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat

ROOM_RATE = 24_000


class Microphone(io.AudioInput):
    """Gives a session the frames that a test speaks into it."""

    def __init__(self) -> None:
        super().__init__(label="test")
        self.recorded = Recorded()
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    async def speak(self, pcm: bytes, *, rate: int = ROOM_RATE, frame: float = 0.05) -> None:
        """Speak 16-bit mono audio in real time, as a room gives it; note when that was."""
        self.recorded = Recorded(frame)
        async for piece in paced(pcm, rate=rate, frame=frame):
            self.recorded.note()
            self._frames.put_nowait(piece)


@dataclass
class Recorded:
    """When each frame of some audio was handed in, by a machine that may have been late."""

    frame: float = 0.05
    handed_in: list[float] = field(default_factory=list)

    def note(self) -> None:
        """The next frame is handed in now."""
        self.handed_in.append(time.time())

    @property
    def lag(self) -> float:
        """By how many seconds the machine was late, at worst."""
        late = [time - number * self.frame for number, time in enumerate(self.handed_in)]
        return max(late) - min(late)

    def at(self, second: float) -> float:
        """The wall-clock time at which a second of the audio was recorded."""
        count = int(second / self.frame)
        return self.handed_in[count] + second - (count + 1) * self.frame


async def until(true: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Wait for something to become true; a busy machine may take its time.

    Raises:
        TimeoutError: It did not.
    """
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def paced(
    pcm: bytes, *, rate: int = ROOM_RATE, frame: float = 0.05, channels: int = 1
) -> AsyncIterator[rtc.AudioFrame]:
    """Cut audio into frames, each when it would have been recorded."""
    size = AudioFormat(sample_rate=rate).size(frame) * channels
    started = time.monotonic()
    for count, position in enumerate(range(0, len(pcm), size), start=1):
        piece = pcm[position : position + size]
        await asyncio.sleep(started + count * frame - time.monotonic())
        yield rtc.AudioFrame(piece, rate, channels, len(piece) // (2 * channels))


class Speaker(io.AudioOutput):
    """Plays what the agent says; notes when each reply begins."""

    def __init__(self, *, real_time: bool = False) -> None:
        super().__init__(
            label="test", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=None
        )
        self.began: list[float] = []
        self.interrupted: list[bool] = []
        self._real_time = real_time
        self._seconds = 0.0
        self._playing: asyncio.TimerHandle | None = None

    @property
    def is_playing(self) -> bool:
        return self._seconds > 0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._seconds:
            self.began.append(time.time())
            self.on_playback_started(created_at=self.began[-1])
        self._seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        if not self._seconds:
            return
        if not self._real_time:
            self._finish(interrupted=False)
            return
        rest = self.began[-1] + self._seconds - time.time()
        self._playing = asyncio.get_running_loop().call_later(
            max(rest, 0.0), lambda: self._finish(interrupted=False)
        )

    def clear_buffer(self) -> None:
        if self._seconds:
            self._finish(interrupted=True)

    def _finish(self, *, interrupted: bool) -> None:
        if self._playing:
            self._playing.cancel()
        seconds, self._seconds = self._seconds, 0.0
        self.interrupted.append(interrupted)
        self.on_playback_finished(playback_position=seconds, interrupted=interrupted)


@dataclass
class Inference:
    """One run of the LLM."""

    text: str
    at: float
    withdrawn: bool = False


class Llm(llm.LLM[Any]):
    """Answers every message at once, and remembers what it was asked."""

    def __init__(self, *, prefix: str = "You said") -> None:
        super().__init__()
        self.prefix = prefix
        self.inferences: list[Inference] = []

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        spoken = [m for m in chat_ctx.messages() if m.role == "user"]
        inference = Inference((spoken[-1].text_content or "") if spoken else "", time.time())
        self.inferences.append(inference)
        return _Answer(
            self, inference, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options
        )

    @property
    def texts(self) -> list[str]:
        return [inference.text for inference in self.inferences]


class _Answer(llm.LLMStream):
    def __init__(self, owner: Llm, inference: Inference, **options: Any) -> None:
        self._inference, self._prefix = inference, owner.prefix
        super().__init__(owner, **options)

    async def _run(self) -> None:
        delta = llm.ChoiceDelta(
            role="assistant", content=f"{self._prefix}: {self._inference.text}."
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="answer", delta=delta))


class Tts(tts.TTS[Any]):
    """Speaks a tone, as long as it is told."""

    def __init__(self, seconds: float = 0.2) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=ROOM_RATE,
            num_channels=1,
        )
        self.seconds = seconds
        self.texts: list[str] = []

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        self.texts.append(text)
        return _Speech(tts=self, input_text=text, conn_options=conn_options)


class _Speech(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, Tts)
        output_emitter.initialize(
            request_id="speech", sample_rate=ROOM_RATE, num_channels=1, mime_type="audio/pcm"
        )
        output_emitter.push(tone(self._tts.seconds))
        output_emitter.flush()


class Ear(vad.VAD):
    """Hears whether there is any sound."""

    def __init__(self, silence: float = 0.4) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.05))
        self.silence = silence

    def stream(self) -> vad.VADStream:
        return _Hearing(self)


class _Hearing(vad.VADStream):
    async def _main_task(self) -> None:
        assert isinstance(self._vad, Ear)
        since, heard_at, now = None, 0.0, 0.0
        async for item in self._input_ch:
            if not isinstance(item, rtc.AudioFrame):
                continue
            now += item.duration
            if max(item.data, default=0) > 300:
                heard_at = now
                if since is None:
                    since = now
                    self._tell(vad.VADEventType.START_OF_SPEECH, now, 0.0, 0.0)
            elif since is not None and now - heard_at >= self._vad.silence:
                spoken, since = heard_at - since, None
                self._tell(vad.VADEventType.END_OF_SPEECH, now, spoken, now - heard_at)

    def _tell(self, kind: vad.VADEventType, now: float, speech: float, silence: float) -> None:
        self._event_ch.send_nowait(
            vad.VADEvent(
                type=kind,
                samples_index=int(now * ROOM_RATE),
                timestamp=now,
                speech_duration=speech,
                silence_duration=silence,
            )
        )


def tone(seconds: float) -> bytes:
    """A tone at `ROOM_RATE`."""
    times = np.arange(int(seconds * ROOM_RATE), dtype=np.float32) / ROOM_RATE
    return AudioFormat().encode(np.float32(0.1) * np.sin(2 * np.pi * 440 * times))


@dataclass
class Call:
    """A running session and what was seen of it."""

    session: AgentSession[None]
    microphone: Microphone
    speaker: Speaker
    answers: Llm
    voice: Tts
    patience: float
    finals: list[str] = field(default_factory=list)
    final_at: list[float] = field(default_factory=list)
    interims: list[str] = field(default_factory=list)
    user_messages: list[llm.ChatMessage] = field(default_factory=list)
    bot_messages: list[llm.ChatMessage] = field(default_factory=list)
    user_stopped: list[float] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)
    user_state: str = "listening"

    @property
    def user_texts(self) -> list[str]:
        return [message.text_content or "" for message in self.user_messages]

    @property
    def reply_delays(self) -> list[float]:
        """Seconds from each end of turn to the first sound of its reply."""
        return [b - e for e, b in zip(self.user_stopped, self.speaker.began, strict=False)]

    async def answered(self, turns: int) -> None:
        """Wait until so many turns were answered."""
        await until(
            lambda: len(self.bot_messages) >= turns and not self.speaker.is_playing,
            seconds=self.patience,
        )


@asynccontextmanager
async def call(
    recogniser: stt.STT[Any],
    *,
    speaker: Speaker | None = None,
    voice: Tts | None = None,
    answers: Llm | None = None,
    turn_handling: TurnHandlingOptions | None = None,
    patience: float | None = None,
    **options: Any,
) -> AsyncIterator[Call]:
    """Run a session around an STT; the built-in one is not waited for as long as ours."""
    session: AgentSession[None] = AgentSession(
        stt=recogniser,
        llm=(answers := answers or Llm()),
        tts=(voice := voice or Tts()),
        vad=options.pop("vad", None),
        aec_warmup_duration=None,
        turn_handling={"turn_detection": "stt", **(turn_handling or {})},
        **options,
    )
    microphone, speaker = Microphone(), speaker or Speaker()
    session.input.audio, session.output.audio = microphone, speaker
    patience = patience or (30.0 if isinstance(recogniser, ink.STT) else 10.0)
    running = Call(session, microphone, speaker, answers, voice, patience)
    _listen(running)
    await session.start(Agent(instructions="Answer."), record=False)
    try:
        yield running
    finally:
        await session.aclose()


def _listen(running: Call) -> None:
    def transcribed(event: UserInputTranscribedEvent) -> None:
        (running.finals if event.is_final else running.interims).append(event.transcript)
        if event.is_final:
            running.final_at.append(event.created_at)

    def added(event: ConversationItemAddedEvent) -> None:
        if not isinstance(event.item, llm.ChatMessage):
            return
        by_user = event.item.role == "user"
        (running.user_messages if by_user else running.bot_messages).append(event.item)

    def user_state(event: UserStateChangedEvent) -> None:
        running.user_state = event.new_state
        if event.old_state == "speaking":
            running.user_stopped.append(event.created_at)

    def agent_state(_: AgentStateChangedEvent) -> None:
        pass

    running.session.on("user_input_transcribed", transcribed)
    running.session.on("conversation_item_added", added)
    running.session.on("user_state_changed", user_state)
    running.session.on("agent_state_changed", agent_state)
    running.session.on("error", running.errors.append)


@dataclass
class Received:
    """What a bare stream said."""

    events: list[stt.SpeechEvent] = field(default_factory=list)
    recorded: Recorded = field(default_factory=Recorded)

    def of(self, kind: stt.SpeechEventType) -> list[stt.SpeechEvent]:
        return [event for event in self.events if event.type is kind]

    def texts(self, kind: stt.SpeechEventType) -> list[str]:
        return [event.alternatives[0].text for event in self.of(kind)]


async def transcribe(
    recogniser: stt.STT[Any],
    pcm: bytes,
    *,
    rate: int = ROOM_RATE,
    frame: float = 0.05,
    channels: int = 1,
    conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    silent_until: Callable[[], object] | None = None,
) -> Received:
    """Speak into a bare stream and end the input; return everything it said.

    With `silent_until`, nothing but silence is recorded before that is true.
    """
    received = Received(recorded=Recorded(frame))
    async with recogniser.stream(conn_options=conn_options) as stream:

        async def speak() -> None:
            while silent_until is not None and not silent_until():
                silence = bytes(AudioFormat(sample_rate=rate).size(frame) * channels)
                async for piece in paced(silence, rate=rate, frame=frame, channels=channels):
                    stream.push_frame(piece)
            async for piece in paced(pcm, rate=rate, frame=frame, channels=channels):
                received.recorded.note()
                stream.push_frame(piece)
            stream.end_input()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak())
            async for event in stream:
                received.events.append(event)
    return received
