"""Real recordings as turns: each is one, and where it has speech and pauses is found in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import engine_clips
from benchmarks.end_of_turn_material import LEAD_SECONDS, SAMPLE_RATE, TAIL_SECONDS, Clip, Sound
from benchmarks.end_of_turn_script import Kind, Part, Turn
from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.server.speech.onnx import Voice, onnx_session
from cartesia_ink_plugins.server.speech.weights import find_weights

# What is longer is a conversation, not a turn; a shorter gap than this is no pause.
_LONGEST, _SHORTEST_PAUSE = 20.0, 0.2
# So many words are a short answer.
_ANSWER_WORDS = 4


def recordings(folder: Path) -> list[Clip]:
    """The recordings of a folder that are one turn each."""
    silero = onnx_session(find_weights().silero)
    return [
        _clip(recording, engine_clips.stretches(recording, Voice(silero)))
        for recording in engine_clips.load(folder)
        if recording.seconds <= _LONGEST and recording.words is not None
    ]


def _clip(recording: engine_clips.Clip, stretches: list[tuple[float, float]]) -> Clip:
    spans: list[tuple[float, float]] = []
    for begin, end in stretches:
        if spans and begin - spans[-1][1] < _SHORTEST_PAUSE:
            begin = spans.pop()[0]
        spans.append((begin, end))
    words = recording.words or ()
    kind = Kind.ANSWER if len(words) <= _ANSWER_WORDS else Kind.SENTENCE
    random = np.random.default_rng(0)

    def silence(seconds: float) -> Samples:
        return random.normal(0.0, 1e-4, round(seconds * SAMPLE_RATE)).astype(np.float32)

    samples = np.concatenate((silence(LEAD_SECONDS), recording.samples, silence(TAIL_SECONDS)))
    return Clip(
        Turn(Part.REPORT, kind, (" ".join(words),)),
        recording.name,
        Sound.CLEAN,
        samples,
        tuple((begin + LEAD_SECONDS, end + LEAD_SECONDS) for begin, end in spans),
    )
