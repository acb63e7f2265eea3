"""A whole conversation in a real pipeline: STT, user aggregator, LLM, voice, assistant aggregator.

Nothing of the framework is replaced. The LLM is a small `LLMService` that answers "re: <words>" in
a few tokens, and the voice is a processor that says at once what it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TextFrame,
    TranscriptionFrame,
)
from pipecat.metrics.metrics import MetricsData
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings
from pipecat.workers.runner import WorkerRunner

_LOOK_EVERY = 0.01
_LONGEST = 150.0


def tone(rate: int, seconds: float = 0.1, channels: int = 1, hertz: float = 440.0) -> bytes:
    """A tone that swells four times a second, like syllables; the same on all channels, 16-bit."""
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.5 * np.sin(2 * np.pi * hertz * time) * np.abs(np.sin(2 * np.pi * 2 * time))
    mono: np.ndarray[tuple[int, ...], np.dtype[np.int16]] = (wave * 32767).astype("<i2")
    return np.repeat(mono, channels).tobytes()


class ScriptedLLM(LLMService):
    """Answers the last message of the user, a token at a time."""

    def __init__(self, *, token_delay: float = 0.0) -> None:
        """Set the pace.

        Args:
            token_delay: Seconds before each token.
        """
        super().__init__(
            settings=LLMSettings(
                model="scripted",
                system_instruction=None,
                temperature=None,
                max_tokens=None,
                top_p=None,
                top_k=None,
                frequency_penalty=None,
                presence_penalty=None,
                seed=None,
                filter_incomplete_user_turns=False,
                user_turn_completion_config=None,
            )
        )
        self.token_delay = token_delay
        self.runs: list[str] = []
        self.contexts: list[list[dict[str, Any]]] = []
        self.last_context = LLMContext()
        self.busy = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context; pass everything else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            messages = [dict(m) for m in frame.context.get_messages() if isinstance(m, dict)]
            self.contexts.append(messages)
            self.last_context = frame.context
            said = [str(m["content"]) for m in messages if m["role"] == "user"]
            self.runs.append(said[-1] if said else "")
            self.busy = True
            try:
                await self._answer(self.runs[-1])
            finally:
                self.busy = False
        else:
            await self.push_frame(frame, direction)

    async def _answer(self, words: str) -> None:
        await self.push_frame(LLMFullResponseStartFrame())
        for token in ("re: ", words, "."):
            await asyncio.sleep(self.token_delay)
            await self.push_frame(LLMTextFrame(token))
        await self.push_frame(LLMFullResponseEndFrame())


class Voice(FrameProcessor):
    """Says what it is given, and tells the pipeline that the bot speaks."""

    def __init__(self, *, speaking_time: float = 0.0) -> None:
        """Set how long an answer takes.

        Args:
            speaking_time: Seconds that the bot speaks after the last token of an answer.
        """
        super().__init__()
        self.speaking_time = speaking_time
        self.spoken: list[str] = []
        self.log: list[tuple[str, str]] = []
        self._text = ""
        self._speaking: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Speak answers; stop when interrupted."""
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            match frame:
                case LLMFullResponseStartFrame():
                    self._text = ""
                case LLMTextFrame():
                    self._text += frame.text
                case LLMFullResponseEndFrame():
                    self.spoken.append(self._text)
                    self.log.append(("spoken", self._text))
                    await self._speak()
                case InterruptionFrame():
                    self.log.append(("interrupted", ""))
                    await self._stop()
        await self.push_frame(frame, direction)

    async def _speak(self) -> None:
        await self._stop()
        await self.broadcast_frame(BotStartedSpeakingFrame)
        self._speaking = self.create_task(self._finish(), "speaking")

    async def _finish(self) -> None:
        await asyncio.sleep(self.speaking_time)
        self._speaking = None
        await self.broadcast_frame(BotStoppedSpeakingFrame)

    async def _stop(self) -> None:
        if self._speaking:
            await self.cancel_task(self._speaking)
            self._speaking = None
            await self.broadcast_frame(BotStoppedSpeakingFrame)

    async def cleanup(self) -> None:
        """Say nothing more."""
        if self._speaking:
            await self.cancel_task(self._speaking)
        await super().cleanup()  # type: ignore[no-untyped-call]


class Tap(FrameProcessor):
    """Lets everything through and remembers what kind of frames it was."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        super().__init__()
        self.frames: list[tuple[Frame, FrameDirection]] = []
        self.audio = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Remember a frame and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.audio += 1
        else:
            self.frames.append((frame, direction))
        await self.push_frame(frame, direction)

    def down(self, *kinds: type[Frame]) -> list[Frame]:
        """The frames of some kinds that went downstream."""
        return [
            f for f, d in self.frames if d is FrameDirection.DOWNSTREAM and isinstance(f, kinds)
        ]

    def up(self, *kinds: type[Frame]) -> list[Frame]:
        """The frames of some kinds that went upstream."""
        return self._of(FrameDirection.UPSTREAM, kinds)

    def _of(self, direction: FrameDirection, kinds: tuple[type[Frame], ...]) -> list[Frame]:
        return [f for f, d in self.frames if d is direction and isinstance(f, kinds)]

    @property
    def interims(self) -> list[str]:
        """Words that could still grow."""
        return [f.text for f in self.down(InterimTranscriptionFrame) if isinstance(f, TextFrame)]

    @property
    def metrics(self) -> list[MetricsData]:
        """All metrics that passed."""
        return [d for f in self.down(MetricsFrame) if isinstance(f, MetricsFrame) for d in f.data]


@dataclass(slots=True)
class Conversation:
    """What happened, and the parts it happened in."""

    stt: FrameProcessor
    llm: ScriptedLLM
    voice: Voice
    tap: Tap
    context: LLMContext
    task: PipelineWorker
    rate: int = 16_000
    errors: list[str] = field(default_factory=list)

    @property
    def finals(self) -> list[TranscriptionFrame]:
        """The final words of each turn."""
        finals = self.tap.down(TranscriptionFrame)
        return [frame for frame in finals if isinstance(frame, TranscriptionFrame)]

    @property
    def user_messages(self) -> list[str]:
        """What the LLM's context says the user said."""
        return [
            str(m["content"])
            for m in self.context.get_messages()
            if isinstance(m, dict) and m["role"] == "user"
        ]

    @property
    def other_messages(self) -> list[str]:
        """Messages in the context that neither the user nor the bot said."""
        return [
            str(m["content"])
            for m in self.context.get_messages()
            if isinstance(m, dict) and m["role"] not in ("user", "assistant")
        ]

    async def hear(self, seconds: float = 0.02) -> None:
        """Let the pipeline hear some silence, all at once."""
        await self.task.queue_frame(
            InputAudioRawFrame(bytes(2 * int(self.rate * seconds)), self.rate, 1)
        )

    async def say(self, pcm: bytes) -> None:
        """Let the pipeline hear some audio, in real time."""
        size = 2 * self.rate // 50
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
            await self.task.queue_frame(InputAudioRawFrame(piece, self.rate, 1))
            await asyncio.sleep(0.02)

    async def pause(self, seconds: float) -> None:
        """Let real time pass."""
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until something is so; a busy machine may take its time."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.005)

    async def quiet(self, seconds: float = 0.15) -> None:
        """Wait until nothing has happened for a while.

        Looks are counted, not seconds: on a machine that stands still, time passes and nothing
        happens that was about to.
        """
        seen, looks = -1, 0
        while looks < seconds / _LOOK_EVERY:
            await asyncio.sleep(_LOOK_EVERY)
            looks += 1
            if self.llm.busy or len(self.tap.frames) != seen:
                seen, looks = len(self.tap.frames), 0


@asynccontextmanager
async def conversation(
    stt: FrameProcessor,
    *,
    llm: ScriptedLLM | None = None,
    voice: Voice | None = None,
    params: LLMUserAggregatorParams | None = None,
    before_aggregator: Sequence[FrameProcessor] = (),
    before_llm: Sequence[FrameProcessor] = (),
    after_voice: Sequence[FrameProcessor] = (),
    before_stt: Sequence[FrameProcessor] = (),
    observers: Sequence[BaseObserver] = (),
    rtvi: bool = False,
    rate: int = 16_000,
    patience: float = 60.0,
    tracing: bool = False,
) -> AsyncIterator[Conversation]:
    """Run a pipeline around an STT service until the block is left, then cancel it.

    Raises:
        TimeoutError: It has not started after `patience` seconds, or what it waits for in the block
            does not come.
    """
    context = LLMContext()
    pair = LLMContextAggregatorPair(context, user_params=params or LLMUserAggregatorParams())
    llm, voice, tap = llm or ScriptedLLM(), voice or Voice(), Tap()
    pipeline = Pipeline(
        [
            *before_stt,
            stt,
            *before_aggregator,
            tap,
            pair.user(),
            *before_llm,
            llm,
            voice,
            *after_voice,
            pair.assistant(),
        ]
    )
    task = PipelineWorker(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=rate, enable_metrics=True, enable_usage_metrics=True
        ),
        cancel_on_idle_timeout=False,
        enable_rtvi=rtvi,
        enable_tracing=tracing,
        observers=list(observers),
    )
    started = asyncio.Event()

    async def on_started(*_: object) -> None:
        started.set()

    task.add_event_handler("on_pipeline_started", on_started)
    talk = Conversation(stt, llm, voice, tap, context, task, rate)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(task)
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(patience):
            await started.wait()
        async with asyncio.timeout(_LONGEST):
            yield talk
    finally:
        await task.cancel()
        async with asyncio.timeout(60):
            await running
