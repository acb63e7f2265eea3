"""Real speech, real models: recordings become turns."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from piper import SynthesisConfig

from benchmarks.engine_clips import Clip, Outcome, distance, load, words_of
from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples
from cartesia_ink_plugins.core.events import TurnEnd, TurnEvent, TurnUpdate
from cartesia_ink_plugins.demo.voice import Voice
from cartesia_ink_plugins.server.engine import Outgoing, TurnThresholds
from cartesia_ink_plugins.server.speech import SpeechEngine
from cartesia_ink_plugins.server.speech.ear import Resampler
from cartesia_ink_plugins.server.speech.recognise import Answer, Recogniser, Request

CARRIED = Path(__file__).parents[2] / "audio"
SENTENCES = {
    "ps_librivox_0920": "had he married a more amiable woman he might have been made still more "
    "respectable than he was",
    "ps_librivox_0930": "he might even have been made amiable himself",
}

# The profile "patient" of the API's documentation.
PATIENT = TurnThresholds(eager_end=0.3, end=0.1, timeout_ms=8000)


@pytest.fixture(scope="module")
def engine() -> Iterator[SpeechEngine]:
    """It recognises inside `receive_audio`, so what it says depends on the audio alone."""
    yield SpeechEngine(threads=0)


@pytest.fixture(scope="module")
def clips() -> dict[str, Clip]:
    return {clip.name: clip for clip in load(CARRIED)}


def silence(seconds: float) -> Samples:
    noise = np.random.default_rng(0).normal(0, 1e-4, round(seconds * 16_000))
    return noise.astype(np.float32)


async def heard(
    engine: SpeechEngine,
    *samples: Samples,
    format: AudioFormat = AudioFormat(),  # noqa: B008 - frozen
    thresholds: TurnThresholds = TurnThresholds(),  # noqa: B008 - frozen
    keyterms: Sequence[str] = (),
) -> Outcome:
    """What the engine makes of audio, with the times of the audio clock."""
    whole = np.concatenate([*samples, silence(3.0)])
    outcome = Outcome(Clip("", whole, None))
    position = 0

    def emit(messages: Sequence[Outgoing]) -> None:
        at = format.seconds(position)
        outcome.events += [(at, message) for message in messages if isinstance(message, TurnEvent)]

    if format.sample_rate != 16_000:
        whole = resampled(whole, format.sample_rate)
    pcm = format.encode(whole)
    ear = engine.open(format, thresholds, emit, keyterms=keyterms)
    for start in range(0, len(pcm), format.size(0.02)):
        position = start + format.size(0.02)
        ear.receive_audio(pcm[start:position])
    await ear.close()
    return outcome


def resampled(samples: Samples, to: int, rate: int = 16_000) -> Samples:
    soxr = pytest.importorskip("soxr")
    result: Samples = soxr.resample(samples, rate, to)
    return result


def at(outcome: Outcome, kind: str) -> float:
    return next(at for at, event in outcome.events if event.type == kind)


def kinds(outcome: Outcome) -> list[str]:
    return [event.type for _, event in outcome.events if event.type != "turn.update"]


@pytest.fixture(scope="module")
def sentences(engine: SpeechEngine, clips: dict[str, Clip]) -> dict[str, Outcome]:
    """What is heard of each sentence with the default thresholds."""
    return {name: asyncio.run(heard(engine, clips[name].samples)) for name in SENTENCES}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_is_one_turn_with_its_words(name: str, sentences: dict[str, Outcome]) -> None:
    outcome = sentences[name]
    assert kinds(outcome) == ["turn.start", "turn.eager_end", "turn.end"]
    assert words_of(outcome.text) == SENTENCES[name].split()
    assert outcome.revised == 0
    assert not outcome.text.startswith(" ")


@pytest.mark.parametrize(
    ("format", "decibels"),
    [
        (AudioFormat(Encoding.PCM_MULAW, 8_000), 20),
        (AudioFormat(Encoding.PCM_ALAW, 8_000), 20),
        (AudioFormat(Encoding.PCM_S32LE, 44_100), 40),
        (AudioFormat(Encoding.PCM_F16LE, 24_000), 40),
        (AudioFormat(Encoding.PCM_F32LE, 48_000), 40),
    ],
    ids=lambda value: f"{value.encoding}-{value.sample_rate}" if not isinstance(value, int) else "",
)
def test_any_encoding_and_rate_becomes_the_sound_that_it_was(
    format: AudioFormat, decibels: float, clips: dict[str, Clip]
) -> None:
    sound = clips["ps_librivox_0930"].samples
    if format.sample_rate < 16_000:  # what a telephone leaves of it
        sound = resampled(resampled(sound, format.sample_rate), 16_000, format.sample_rate)
    resampler = Resampler(format)
    pcm = format.encode(resampled(sound, format.sample_rate))
    pieces = [resampler(pcm[at : at + 1001]) for at in range(0, len(pcm), 1001)]
    heard = np.concatenate([*pieces, resampler(b"", last=True)])[: len(sound)]
    error = np.square(heard - sound[: len(heard)]).mean()
    assert abs(len(heard) - len(sound)) <= 2
    assert 10 * np.log10(np.square(sound).mean() / error) > decibels


async def test_a_telephone_is_understood(engine: SpeechEngine, clips: dict[str, Clip]) -> None:
    telephone = AudioFormat(Encoding.PCM_MULAW, 8_000)
    outcome = await heard(engine, clips["ps_librivox_0930"].samples, format=telephone)
    assert words_of(outcome.text) == SENTENCES["ps_librivox_0930"].split()


async def test_the_second_turn_begins_with_a_space(
    engine: SpeechEngine, clips: dict[str, Clip]
) -> None:
    sentence = clips["ps_librivox_0930"].samples
    outcome = await heard(engine, sentence, silence(2), sentence)
    assert outcome.turns == 2
    assert words_of(outcome.text) == SENTENCES["ps_librivox_0930"].split() * 2
    first, second = (event for _, event in outcome.events if isinstance(event, TurnEnd))
    assert not first.transcript.startswith(" ")
    assert second.transcript.startswith(" ")


async def test_a_higher_eager_end_fires_earlier_and_a_lower_end_later(
    engine: SpeechEngine, clips: dict[str, Clip], sentences: dict[str, Outcome]
) -> None:
    lower = TurnThresholds(eager_end=0.3, end=0.1)
    patient = await heard(engine, clips["ps_librivox_0930"].samples, thresholds=lower)
    balanced = sentences["ps_librivox_0930"]
    for kind in ("turn.eager_end", "turn.end"):
        assert at(balanced, kind) < at(patient, kind)


async def test_closing_in_mid_sentence_keeps_the_words_said_so_far(
    engine: SpeechEngine, clips: dict[str, Clip]
) -> None:
    events: list[Outgoing] = []
    ear = engine.open(AudioFormat(), TurnThresholds(), events.extend)
    ear.receive_audio(AudioFormat().encode(clips["ps_librivox_0920"].samples[: 2 * 16_000]))
    await ear.close()
    last = events[-1]
    assert isinstance(last, TurnEnd)
    assert words_of(last.transcript)[:3] == ["had", "he", "married"]


@pytest.mark.parametrize("kind", ["silence", "white", "hum", "clicks", "puffs"])
async def test_noise_is_no_turn(kind: str, engine: SpeechEngine) -> None:
    random = np.random.default_rng(1)
    noise = np.zeros(6 * 16_000, np.float32)
    match kind:
        case "white":
            noise += random.normal(0, 0.05, len(noise)).astype(np.float32)
        case "hum":
            noise += (0.2 * np.sin(2 * np.pi * 50 * np.arange(len(noise)) / 16_000)).astype("f4")
        case "clicks":
            noise[::8_000] = 0.9
        case "puffs":
            for start in range(0, len(noise), 16_000):
                puff = random.normal(0, 0.2, 3_200) * np.hanning(3_200)
                noise[start : start + 3_200] = puff
    outcome = await heard(engine, noise)
    assert outcome.events == []


async def test_what_is_dictated_is_written_in_one_piece_and_never_revised(
    engine: SpeechEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The voice draws how it says something; without noise it says it the same way each time.
    calm = partial(SynthesisConfig, noise_scale=0.0, noise_w_scale=0.0)
    monkeypatch.setattr("piper.SynthesisConfig", calm)
    pcm = Voice.load_now(16_000).synthesize(
        "My number is nine one six, five five five, two eight one four. Please call me back."
    )
    outcome = await heard(engine, AudioFormat().decode(pcm))
    assert "916-555-2814" in outcome.text
    assert outcome.revised == 0
    updates = [e.transcript for _, e in outcome.events if isinstance(e, TurnUpdate)]
    assert len(updates) >= 2
    assert not any(re.search(r"\d[.,]?\s+\d", text) for text in updates)


async def test_keyterms_do_no_harm(engine: SpeechEngine, clips: dict[str, Clip]) -> None:
    outcome = await heard(
        engine, clips["ps_librivox_0930"].samples, keyterms=["Cartesia", "Ink", "Pipecat"]
    )
    assert words_of(outcome.text) == SENTENCES["ps_librivox_0930"].split()


async def test_with_threads_the_words_are_the_same(clips: dict[str, Clip]) -> None:
    engine = SpeechEngine(threads=2)
    events: list[Outgoing] = []
    ear = engine.open(AudioFormat(), TurnThresholds(), events.extend)
    ear.receive_audio(
        AudioFormat().encode(np.concatenate([clips["ps_librivox_0930"].samples, silence(2)]))
    )
    await ear.close()
    await engine.aclose()
    await engine.aclose()
    last = events[-1]
    assert isinstance(last, TurnEnd)
    assert words_of(last.transcript) == SENTENCES["ps_librivox_0930"].split()


@pytest.mark.needs("audio")
@pytest.mark.parametrize("name", ["jfk", "wt_speech_with_pause"])
async def test_no_word_is_lost_where_a_long_pause_ends_the_turn(
    name: str, engine: SpeechEngine, audio_dir: Path
) -> None:
    """Orators pause for 0.8 s and more inside a sentence; another turn may go on with it."""
    clip = next(clip for clip in load(audio_dir) if clip.name == name)
    outcome = await heard(engine, clip.samples)
    words = clip.words
    if words is None:
        patient = await heard(engine, clip.samples, thresholds=PATIENT)
        assert patient.turns == 1
        words = tuple(words_of(patient.text))
    # The oldest CTranslate2 that is promised hears three of them differently.
    assert distance(words, words_of(outcome.text)) <= 4
    assert outcome.revised == 0


def test_every_copy_of_the_model_is_warm_before_anybody_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recognised = Recogniser.__call__
    together = threading.Barrier(2, timeout=30)

    def recognise(self: Recogniser, request: Request) -> Answer | None:
        together.wait()
        return recognised(self, request)

    monkeypatch.setattr(Recogniser, "__call__", recognise)
    SpeechEngine(threads=2)


def test_the_resampler_needs_soxr_only_when_there_is_something_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    Resampler(AudioFormat())
    with pytest.raises(ValueError, match="soxr is not installed"):
        Resampler(AudioFormat(sample_rate=8_000))
