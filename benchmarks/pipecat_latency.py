"""How right Pipecat's own observers are with no VAD in the pipeline, against known speech times.

Says recorded sentences to `InkTurnsSTTService` in real time, in quiet and with white noise, to a
server that tells the end of each turn 0.7 s after its last sound. A bot answers at once. Prints the
errors of `SpeakingObserver` (start and end of the speech) and of `UserBotLatencyObserver`.

    python -m benchmarks.pipecat_latency
"""

from __future__ import annotations

import argparse
import asyncio
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
)
from pipecat.observers.speaking_observer import SpeakingObserver, SpeechEvent
from pipecat.observers.user_bot_latency_observer import UserBotLatencyObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.engine import Emit, TurnThresholds

RECORDINGS = Path(__file__).parents[1] / "tests" / "audio"
# Where the sentence begins and ends, in seconds; by eye, as in tests/core/stream/test_vad.py.
SENTENCES = {
    "ps_librivox_0870": (0.25, 6.80),
    "ps_librivox_0880": (0.27, 2.80),
    "ps_librivox_0890": (0.28, 5.00),
    "ps_librivox_0920": (0.29, 5.80),
    "ps_librivox_0930": (0.27, 2.98),
}
FORMAT = AudioFormat()
FRAME_SECONDS = 0.02
TELLS_START_AFTER, WORD_EVERY, TELLS_END_AFTER = 0.3, 0.4, 0.7  # seconds of audio


@dataclass(frozen=True, slots=True)
class Errors:
    """Seconds by which one turn is wrong."""

    start: float
    end: float
    latency: float


class Teller:
    """Tells one turn, by how much audio has come."""

    def __init__(self, start: float, end: float) -> None:
        """Know when it is spoken."""
        begins, self._ends_at = start + TELLS_START_AFTER, end + TELLS_END_AFTER
        self._due = [begins, *np.arange(begins + WORD_EVERY, end, WORD_EVERY), self._ends_at]
        self._text = ""
        self._received = 0
        self._emit: Emit | None = None

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> Teller:
        """Take the connection."""
        self._emit = emit
        return self

    def receive_audio(self, pcm: bytes) -> None:
        """Tell what is due."""
        self._received += len(pcm)
        while self._due and FORMAT.seconds(self._received) >= self._due[0] and self._emit:
            if self._due.pop(0) == self._ends_at:
                self._emit([TurnEnd(self._text)])
                return
            if not self._text:
                self._emit([TurnStart()])
            self._text += " word"
            self._emit([TurnUpdate(self._text)])

    def configure(self, settings: TurnThresholds) -> None:
        """Nothing depends on it."""

    async def close(self) -> None:
        """Nothing is left to tell."""

    def abort(self) -> None:
        """Nothing is to be freed."""

    async def aclose(self) -> None:
        """Nothing is to be freed."""


class Bot(FrameProcessor):
    """Begins to speak when the final text comes."""

    def __init__(self) -> None:
        """Be silent."""
        super().__init__()
        self.started = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Speak, and pass the frame on."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self.started = time.time()
            await self.broadcast_frame(BotStartedSpeakingFrame)


async def measure(name: str, decibels: float | None, seed: int) -> Errors:
    """Say one sentence, and return by how much the observers are wrong."""
    start, end = SENTENCES[name]
    pcm = with_noise(RECORDINGS / f"{name}.wav", decibels, seed)
    speech, latencies = SpeakingObserver(), UserBotLatencyObserver()
    events: list[SpeechEvent] = []
    measured: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    speech.add_event_handler("on_speech_event", lambda _, event: events.append(event))
    latencies.add_event_handler("on_latency_measured", lambda _, s: measured.set_result(s))
    bot, teller = Bot(), Teller(start, end)

    async with InkServer(teller) as server:
        stt = InkTurnsSTTService(api_key="any", url=server.url)
        worker = PipelineWorker(
            Pipeline([stt, bot]),
            params=PipelineParams(audio_in_sample_rate=FORMAT.sample_rate, enable_metrics=True),
            observers=[speech, latencies],
            enable_rtvi=False,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        try:
            await asyncio.sleep(1.0)
            size, began = FORMAT.size(FRAME_SECONDS), time.time()
            for index, first in enumerate(range(0, len(pcm), size), start=1):
                # A frame comes when it ends. One that a busy machine hands in late was spoken in
                # time: the truth is the schedule.
                await asyncio.sleep(max(0.0, began + FRAME_SECONDS * index - time.time()))
                piece = pcm[first : first + size]
                await worker.queue_frame(InputAudioRawFrame(piece, FORMAT.sample_rate, 1))
            latency = await asyncio.wait_for(measured, 10.0)
        finally:
            await worker.cancel()
            await running
    spoke = next(event for event in events if event.kind == "user_speech_stopped")
    true_start, true_end = began + start, began + end
    assert spoke.started_at is not None
    return Errors(
        start=spoke.started_at - true_start,
        end=spoke.timestamp - true_end,
        latency=latency - (bot.started - true_end),
    )


def with_noise(path: Path, decibels: float | None, seed: int) -> bytes:
    """A recording and silence behind it; with noise so many decibels below the voice."""
    with wave.open(str(path)) as file:
        pcm = file.readframes(file.getnframes())
    samples = FORMAT.decode(pcm + bytes(FORMAT.size(1.5)))
    if decibels is not None:
        level = np.sqrt(np.square(FORMAT.decode(pcm)).mean()) * 10 ** (-decibels / 20)
        noise = np.random.default_rng(seed).standard_normal(len(samples), np.float32)
        samples = samples + noise * np.float32(level)
    return FORMAT.encode(samples)


def told(errors: Sequence[float]) -> str:
    """The median and the 90th percentile of the size of errors, in milliseconds."""
    sizes = np.abs(errors) * 1000
    return f"{np.median(sizes):6.0f} {np.quantile(sizes, 0.9):6.0f}"


async def main(arguments: Any) -> None:
    """Measure, some calls at a time, and print a table."""
    slots = asyncio.Semaphore(arguments.at_once)

    async def one(name: str, decibels: float | None, seed: int) -> Errors:
        async with slots:
            return await measure(name, decibels, seed)

    print("errors in ms         start          end      latency")
    print("turns          p50    p90    p50    p90    p50    p90")
    for label, decibels in (("quiet", None), (f"{arguments.decibels:.0f} dB", arguments.decibels)):
        turns = [(name, decibels, seed) for seed in range(arguments.rounds) for name in SENTENCES]
        found = await asyncio.gather(*(one(*turn) for turn in turns))
        columns = (
            told([getattr(e, field) for e in found]) for field in ("start", "end", "latency")
        )
        print(f"{len(found):3d} {label:>6} ", *columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decibels", type=float, default=20.0, help="of the voice over the noise")
    parser.add_argument("--rounds", type=int, default=4, help="how often each sentence is said")
    parser.add_argument("--at-once", type=int, default=2, help="how many calls at a time")
    logger.disable("pipecat")
    logger.disable("cartesia_ink_plugins")
    asyncio.run(main(parser.parse_args()))
