"""When the caller spoke, as the session is told it: by recordings of real voices, in noise too.

What is true is read off the recordings without noise, by a rule that has nothing to do with the
plugin's: speech lasts from the first to the last 10 ms that are at most 25 dB below the recording's
loud parts. For the sentences whose times were also found by eye (`tests/core/test_speech.py`) the
two differ by at most 50 ms. The server says what Ink would say, at the times at which it would.
"""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from livekit.agents import stt

from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.testing import Cue, InkServer, Script
from tests.livekit.conftest import BOTH, MakeSTT
from tests.livekit.harness import transcribe
from tests.needs import ROOT, audio_folder

FORMAT = AudioFormat()
FRAME = 0.05
BEFORE, AFTER = 1.0, 1.3
# Two people on the telephone, in many turns.
LEFT_OUT = {"g_commercial_mono"}


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, with silence around it.

    Attributes:
        samples: At the rate of `FORMAT`.
        start: When somebody begins to speak, in seconds.
        end: When nobody speaks any more.
    """

    name: str
    samples: Samples
    start: float
    end: float

    @property
    def script(self) -> Script:
        """What the server says, and when."""
        spoken: list[tuple[float, TurnStart | TurnUpdate | TurnEagerEnd | TurnEnd]] = [
            (self.start + 0.25, TurnStart()),
            (self.start + 0.4, TurnUpdate("words")),
            (self.end + 0.5, TurnEagerEnd("words")),
            (self.end + 0.9, TurnEnd("words")),
        ]
        return Script(cues=[Cue(at, event) for at, event in spoken])

    def pcm(self, noise: float | None) -> bytes:
        """The audio, with white noise so many decibels below the voice."""
        samples = self.samples
        if noise is not None:
            voice = samples[FORMAT.size(BEFORE) // 2 : -FORMAT.size(AFTER) // 2]
            level = np.sqrt(np.square(voice).mean()) * 10 ** (-noise / 20)
            white = np.random.default_rng(0).standard_normal(len(samples), np.float32)
            samples = samples + white * np.float32(level)
        return FORMAT.encode(samples)


def clips() -> Iterator[Clip]:
    """The shared recordings, or those that the project carries."""
    for path in sorted((audio_folder() or ROOT / "tests" / "audio").glob("*.wav")):
        if path.stem not in LEFT_OUT:
            yield read(path)


def read(path: Path) -> Clip:
    with wave.open(str(path)) as file:
        voice = FORMAT.decode(file.readframes(file.getnframes()))
    step = FORMAT.sample_rate // 100
    parts = voice[: len(voice) // step * step].reshape(-1, step)
    level = 10 * np.log10(parts.var(axis=1) + 1e-12)
    loud = level > np.quantile(level, 0.95) - 25.0
    # A crackle is shorter than three parts.
    [spoken] = np.nonzero(loud & (np.convolve(loud, np.ones(5), "same") >= 3))
    silence = [np.zeros(int(s * FORMAT.sample_rate), np.float32) for s in (BEFORE, AFTER)]
    samples = np.concatenate([silence[0], voice, silence[1]])
    return Clip(path.stem, samples, BEFORE + spoken[0] / 100, BEFORE + (spoken[-1] + 1) / 100)


async def errors(make: MakeSTT, clip: Clip, noise: float | None) -> tuple[list[float], float]:
    """How far the start and the end of the speech are off, and how late the machine was at worst.

    All in seconds.
    """
    async with InkServer(clip.script) as server:
        pcm = clip.pcm(noise)
        received = await transcribe(make(server.url), pcm, rate=FORMAT.sample_rate, frame=FRAME)
    [start] = received.of(stt.SpeechEventType.START_OF_SPEECH)
    [end] = received.of(stt.SpeechEventType.END_OF_SPEECH)
    assert start.speech_start_time, f"{clip.name}: nobody told when it began"
    assert end.speech_end_time, f"{clip.name}: nobody told when it ended"
    off = [
        abs(start.speech_start_time - received.recorded.at(clip.start)),
        abs(end.speech_end_time - received.recorded.at(clip.end)),
    ]
    return off, received.recorded.lag


@BOTH
async def test_nine_of_ten_times_are_right_within_100_ms(
    make: MakeSTT, figures: dict[str, float]
) -> None:
    conditions = {"as recorded": None, "with noise at 20 dB": 20.0}
    async with asyncio.TaskGroup() as group:
        tasks = {
            condition: [group.create_task(errors(make, clip, noise)) for clip in clips()]
            for condition, noise in conditions.items()
        }
    for condition, done in tasks.items():
        off = [error for task in done for error in task.result()[0]]
        for percent in (50, 90):
            figures[f"{condition}, {len(done)} recordings, p{percent} of the error in seconds"] = (
                float(np.percentile(off, percent))
            )
        # A machine that stands still in between makes any two times differ.
        assert np.percentile(off, 90) <= 0.1 + max(task.result()[1] for task in done)
