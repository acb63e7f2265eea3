"""No speech has no words, hard speech is not made up, and a busy machine hears no worse.

All sounds but the carried recordings are made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine_clips import Clip, distance, load, words_of
from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.events import TurnEnd, TurnEvent
from cartesia_ink_plugins.server.engine import Outgoing, TurnThresholds
from cartesia_ink_plugins.server.speech import SpeechEngine
from cartesia_ink_plugins.server.speech.listener import Listener
from cartesia_ink_plugins.server.speech.onnx import VAD_SAMPLES, SmartTurn, onnx_session
from cartesia_ink_plugins.server.speech.recognise import Recogniser
from cartesia_ink_plugins.server.speech.weights import find_weights
from cartesia_ink_plugins.server.speech.whisper import Whisper

RATE = 16_000
CARRIED = Path(__file__).parents[2] / "audio"
SENTENCE = "ps_librivox_0930"
WORDS = {
    "ps_librivox_0920": "had he married a more amiable woman he might have been made still more "
    "respectable than he was",
    "ps_librivox_0930": "he might even have been made amiable himself",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[SpeechEngine]:
    yield SpeechEngine(threads=0)


@pytest.fixture(scope="module")
def clips() -> dict[str, Clip]:
    return {clip.name: clip for clip in load(CARRIED)}


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    weights = find_weights()
    whisper = Whisper(weights.whisper, parallel=1)
    return Recogniser(whisper, SmartTurn(onnx_session(weights.smart_turn)))


def room(seconds: float, level: float = 1e-4) -> Samples:
    noise = np.random.default_rng(0).normal(0.0, level, round(seconds * RATE))
    return noise.astype(np.float32)


def music(seconds: float) -> Samples:
    """A piano-like melody over chords, with a drum on the beat."""
    random = np.random.default_rng(2)
    time = np.arange(round(seconds * RATE)) / RATE
    samples = np.zeros(len(time))
    for number in range(int(seconds * 4)):
        at = number * RATE // 4
        span = time[: len(time) - at]
        root = 220.0 * 2 ** (int(random.integers(0, 13)) / 12)
        for overtone in range(1, 6):
            tone = np.sin(2 * np.pi * root * overtone * span) / overtone**1.5
            samples[at:] += 0.1 * tone * np.exp(-span * 4)
        if number % 2 == 0:
            samples[at:] += 0.3 * np.sin(2 * np.pi * 60 * span) * np.exp(-span * 30)
    return samples.astype(np.float32)


def keyboard(seconds: float) -> Samples:
    """Keys that are pressed and released, eight times a second."""
    random = np.random.default_rng(3)
    samples = room(seconds, 3e-4).astype(np.float64)
    at = 0.2
    while at < seconds - 0.2:
        for later, loud in ((0.0, 0.25), (0.07, 0.12)):
            start = round((at + later) * RATE)
            click = random.normal(0, loud, 480) * np.exp(-np.arange(480) / 60)
            samples[start : start + 480] += click
        at += float(random.uniform(0.06, 0.2))
    return np.clip(samples, -1, 1).astype(np.float32)


def cough() -> Samples:
    """Two bursts of noise that ring in a throat."""
    random = np.random.default_rng(4)
    samples = room(3.0).astype(np.float64)
    for start in (0.8, 1.25):
        length = round(0.22 * RATE)
        burst = random.normal(0, 1, length) * np.exp(-np.arange(length) / (0.06 * RATE))
        spectrum = np.fft.rfft(burst)
        hertz = np.fft.rfftfreq(length, 1 / RATE)
        for formant in (700, 1400, 2600):
            spectrum *= 1 + 3 * np.exp(-(((hertz - formant) / 200) ** 2))
        rung = np.fft.irfft(spectrum, length)
        samples[round(start * RATE) :][:length] += 0.5 * rung / np.abs(rung).max()
    return samples.astype(np.float32)


async def listened(engine: SpeechEngine, *samples: Samples) -> list[TurnEvent]:
    """The events of audio and of two seconds of a quiet room after it."""
    events: list[Outgoing] = []
    stream = engine.open(AudioFormat(), TurnThresholds(), events.extend)
    pcm = AudioFormat().encode(np.concatenate([room(0.5), *samples, room(2.0)]))
    for start in range(0, len(pcm), 32_000):
        stream.receive_audio(pcm[start : start + 32_000])
    await stream.close()
    return [event for event in events if isinstance(event, TurnEvent)]


def text(events: Sequence[TurnEvent]) -> str:
    return "".join(event.transcript for event in events if isinstance(event, TurnEnd))


@pytest.mark.parametrize("sound", ["music", "keyboard", "cough"])
async def test_a_sound_that_is_no_speech_has_no_words(sound: str, engine: SpeechEngine) -> None:
    made = {"music": lambda: music(15), "keyboard": lambda: keyboard(15), "cough": cough}[sound]()
    assert text(await listened(engine, made)) == ""


def test_after_6_s_of_silence_the_detector_is_as_new_so_that_longer_ones_are_no_other(
    engine: SpeechEngine,
) -> None:
    old, silence = engine.voice(), room(6.0)
    steps = range(0, len(silence) - VAD_SAMPLES + 1, VAD_SAMPLES)
    first = [old(silence[at : at + VAD_SAMPLES]) for at in steps]
    forgot = [old(silence[at : at + VAD_SAMPLES]) for at in [*steps][: 188 - len(steps)]]
    again = [old(silence[at : at + VAD_SAMPLES]) for at in steps]
    assert max(first + forgot) < 0.1
    assert again == first


async def test_two_minutes_of_silence_are_nothing_and_speech_is_heard_after_them(
    engine: SpeechEngine, clips: dict[str, Clip]
) -> None:
    """Twice as long as any sound is kept."""
    events = await listened(engine, room(125.0), clips[SENTENCE].samples)
    assert [e.type for e in events if e.type != "turn.update"] == [
        "turn.start",
        "turn.eager_end",
        "turn.end",
    ]
    assert words_of(text(events)) == WORDS[SENTENCE].split()


async def test_speech_40_db_down_is_heard_or_not_but_not_made_up(
    engine: SpeechEngine, clips: dict[str, Clip]
) -> None:
    quiet = clips[SENTENCE].samples / np.abs(clips[SENTENCE].samples).max() / 100
    heard = words_of(text(await listened(engine, quiet.astype(np.float32))))
    assert distance(WORDS[SENTENCE].split(), heard) <= 3 or not heard


async def test_clipped_speech_keeps_its_words(engine: SpeechEngine, clips: dict[str, Clip]) -> None:
    loud = np.clip(clips[SENTENCE].samples * 10, -1, 1).astype(np.float32)
    events = await listened(engine, loud)
    assert distance(WORDS[SENTENCE].split(), words_of(text(events))) <= 3


async def test_a_voice_far_away_does_not_hold_the_turn_open(
    engine: SpeechEngine, clips: dict[str, Clip]
) -> None:
    """Somebody else goes on speaking in the next room, 35 dB down."""
    near, far = clips[SENTENCE].samples, clips["ps_librivox_0870"].samples
    quiet = far * (10 ** (-35 / 20) * np.abs(near).max() / np.abs(far).max())
    background = np.concatenate([np.zeros(len(near) // 2, np.float32), quiet])
    mixed = background[: len(near) + 4 * RATE].copy()
    mixed[: len(near)] += near
    events = await listened(engine, mixed)
    first = next(event for event in events if isinstance(event, TurnEnd))
    assert distance(WORDS[SENTENCE].split(), words_of(first.transcript)) <= 1


def test_a_busy_machine_says_words_that_are_no_worse(
    engine: SpeechEngine, recogniser: Recogniser, clips: dict[str, Clip]
) -> None:
    """Partials come rarely, or not at all; pauses are waited for.

    They need not be the very same: an interim that was said on a calm machine is not taken back.
    """
    name = "ps_librivox_0920"

    def errors(*, partial_every: float, hurried: bool) -> int:
        listener = Listener(engine.voice(), TurnThresholds())
        listener.hurried, listener.partial_every = hurried, partial_every
        events = recognised(listener, recogniser, clips[name].samples)
        return distance(WORDS[name].split(), words_of(text(events)))

    calm = errors(partial_every=0.5, hurried=False)
    assert errors(partial_every=3.0, hurried=False) <= calm
    assert errors(partial_every=3.0, hurried=True) <= calm


def test_speech_much_longer_than_whispers_window_keeps_all_its_words(
    engine: SpeechEngine, recogniser: Recogniser, clips: dict[str, Clip]
) -> None:
    tight = [clips[name].samples[5_000:-4_000] for name in WORDS] * 2
    assert sum(map(len, tight)) / RATE > 13
    patient = TurnThresholds(eager_end=0.2, end=0.05, timeout_ms=11_200)
    listener = Listener(engine.voice(), patient)
    listener.partial_every = 1.5
    events = recognised(listener, recogniser, *tight)
    said = [getattr(event, "transcript", "") for event in events]
    assert [event.type for event in events].count("turn.end") == 1
    assert all(later.startswith(text) for text, later in pairwise(said) if later)
    wanted = " ".join([*WORDS.values()] * 2).split()
    assert distance(wanted, words_of(text(events))) <= 3


def recognised(listener: Listener, recogniser: Recogniser, *samples: Samples) -> list[TurnEvent]:
    """The events of audio between quiet rooms; every request is answered at once."""
    heard = np.concatenate([room(0.5), *samples, room(3.0)])
    events: list[TurnEvent] = []
    for start in range(0, len(heard) - VAD_SAMPLES + 1, VAD_SAMPLES):
        events += listener.hear(heard[start : start + VAD_SAMPLES])
        while listener.wanted:
            asked = listener.wanted.pop(0)
            answer = recogniser(asked.request)
            assert answer is not None
            events += listener.answer(asked, answer)
    return events
