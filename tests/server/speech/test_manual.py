"""Real speech without turns: words up to a `finalize`, and whole files with times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.engine_clips import distance, load, words_of
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Transcript
from cartesia_ink_plugins.server.manual_engine import ManualRequest
from cartesia_ink_plugins.server.speech import SpeechEngine

CLIP = Path(__file__).parents[2] / "audio" / "ps_librivox_0930.wav"
MODELS = ("ink-2", "ink-whisper")
SENTENCE = "he might even have been made amiable himself".split()
LONGER = (
    "had he married a more amiable woman he might have been made still more respectable than he was"
).split()


@pytest.fixture(scope="module")
def engine() -> Iterator[SpeechEngine]:
    """It recognises inside `receive_audio`, so what it says depends on the audio alone."""
    yield SpeechEngine(threads=0)


@pytest.fixture(scope="module")
def pcm() -> bytes:
    samples, rate = soundfile.read(CLIP, dtype="int16")
    assert rate == 16_000
    return b"".join((bytes(8000), samples.tobytes(), bytes(8000)))


def request_for(model: str) -> ManualRequest:
    return ManualRequest(model=model, format=AudioFormat())


async def heard(engine: SpeechEngine, model: str, *parts: bytes) -> list[list[Transcript]]:
    """What is said up to the `finalize` after each part."""
    said: list[Transcript] = []
    ear = engine.open_manual(request_for(model), said.extend)
    answers: list[list[Transcript]] = []
    for part in parts:
        for at in range(0, len(part), 3200):
            ear.receive_audio(part[at : at + 3200])
        await ear.finalize()
        answers.append(list(said))
        said.clear()
    ear.abort()
    return answers


@pytest.fixture(scope="module")
def twice(engine: SpeechEngine, pcm: bytes) -> dict[str, list[list[Transcript]]]:
    """What each model says to the sentence, and to the sentence once more."""
    return {model: asyncio.run(heard(engine, model, pcm, pcm)) for model in MODELS}


def test_deltas_are_the_sentence_and_break_words(twice: dict[str, list[list[Transcript]]]) -> None:
    deltas, _ = twice["ink-2"]
    text = "".join(delta.text for delta in deltas)
    assert words_of(text) == SENTENCE
    assert len(deltas) > 3
    broken = [a.text[-1].isalpha() and b.text[0].isalpha() for a, b in pairwise(deltas)]
    assert any(broken)
    assert not any(delta.words for delta in deltas)


@pytest.mark.parametrize("model", MODELS)
def test_the_next_words_begin_with_a_space(
    twice: dict[str, list[list[Transcript]]], model: str
) -> None:
    first, second = twice[model]
    texts = ["".join(delta.text for delta in answer) for answer in (first, second)]
    assert not texts[0].startswith(" ")
    assert texts[1].startswith(" ")
    assert [words_of(text) for text in texts] == [SENTENCE, SENTENCE]


def test_whisper_says_when_each_word_was_said(
    twice: dict[str, list[list[Transcript]]], pcm: bytes
) -> None:
    _, answer = twice["ink-whisper"]
    [transcript] = answer
    assert transcript.duration == pytest.approx(len(pcm) / 32_000)
    assert "".join(word.word for word in transcript.words) == transcript.text
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert times == sorted(times)
    # The words of the second recording stand behind the first.
    assert times[0] > len(pcm) / 32_000 + 0.4
    assert times[-1] < 2 * len(pcm) / 32_000 - 0.1


@pytest.mark.parametrize("model", MODELS)
async def test_silence_has_no_words(engine: SpeechEngine, model: str) -> None:
    assert await heard(engine, model, bytes(64_000)) == [[]]


async def test_a_long_file_is_written_down_whole(engine: SpeechEngine) -> None:
    known = {clip.name: clip.samples for clip in load(CLIP.parent)}
    clips = [known[name] for name in ("ps_librivox_0920", "ps_librivox_0930", "ps_librivox_0920")]
    format = AudioFormat()
    pause = np.zeros(8000, np.float32)
    pcm = format.encode(np.concatenate([part for clip in clips for part in (clip, pause)]))
    transcript = await engine.transcribe(format, pcm, "en")
    seconds = format.seconds(len(pcm))
    assert seconds > 15
    spoken = [*LONGER, *SENTENCE, *LONGER]
    assert distance(spoken, words_of(transcript.text)) <= 0.15 * len(spoken)
    assert transcript.duration == pytest.approx(seconds)
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert seconds - 2 < times[-1] < seconds - 0.3


@pytest.mark.needs("audio")
async def test_a_short_phrase_is_written_down_once(engine: SpeechEngine, audio_dir: Path) -> None:
    """Five beams make "Book a room Book a room Book a room" of it."""
    [clip] = [clip for clip in load(audio_dir) if clip.name == "gdf_book_a_room"]
    random = np.random.default_rng(0)
    before, behind = (random.normal(0.0, 1e-4, count).astype("f4") for count in (8_000, 16_000))
    pcm = AudioFormat().encode(np.concatenate((before, clip.samples, behind)))
    transcript = await engine.transcribe(AudioFormat(), pcm, "en")
    assert words_of(transcript.text) == ["book", "a", "room"]
