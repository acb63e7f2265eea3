"""Turns to decide on: spoken by offline voices, with pauses of known place and length.

Each piece of a turn is spoken by itself, one that is followed by a pause with a comma at its end,
so that the voice does not fall as at a full stop; then the pieces are joined by silence. All that
is drawn (the lengths of the pauses, what becomes of the sound) depends on the text and the voice
alone, so the material is the same everywhere the packages are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from benchmarks.end_of_turn_script import Part, Turn, turns
from benchmarks.end_of_turn_voices import Voice
from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples

SAMPLE_RATE = 16_000
# Silence before the first word, and after the last: longer than any patience.
LEAD_SECONDS, TAIL_SECONDS = 0.5, 4.5
# A planted pause is so long.
SHORTEST, LONGEST = 0.2, 1.5
# RMS of speech and of the room behind it, of full scale.
_SPEECH_LEVEL, _ROOM_LEVEL = 0.08, 1e-4


class Sound(Enum):
    """What becomes of the sound on its way."""

    CLEAN = "clean"
    TELEPHONE = "telephone"
    NOISE_20 = "noise 20 dB"
    NOISE_10 = "noise 10 dB"


@dataclass(frozen=True, slots=True)
class Clip:
    """A turn as sound.

    Attributes:
        turn: What is said.
        voice: Name of the voice.
        sound: What became of it.
        samples: 16 kHz audio.
        spans: Where each piece begins and ends, in seconds.
    """

    turn: Turn
    voice: str
    sound: Sound
    samples: Samples
    spans: tuple[tuple[float, float], ...]

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Where the planted pauses begin and end, in seconds."""
        return [
            (end, begin) for (_, end), (begin, _) in zip(self.spans, self.spans[1:], strict=False)
        ]

    @property
    def end(self) -> float:
        """Where the last word ends, in seconds."""
        return self.spans[-1][1]


def material(part: Part, voices: Sequence[Voice], cache: Path) -> Iterator[Clip]:
    """All clips of a part, each in one of the sounds.

    Turns to tune on are spoken by each voice of their part, reported ones by every other.
    """
    for order, voice in enumerate(voice for voice in voices if part in voice.parts):
        for number, turn in enumerate(turns(part)):
            if part is Part.TUNE or (number + order) % 2 == 0:
                random = _random(voice.name, *turn.pieces)
                sound = list(Sound)[(number + int(random.integers(4))) % 4]
                yield make(turn, voice, sound, random, cache)


def make(turn: Turn, voice: Voice, sound: Sound, random: np.random.Generator, cache: Path) -> Clip:
    """Speak one turn."""
    parts = [_silence(LEAD_SECONDS)]
    spans: list[tuple[float, float]] = []
    for number, piece in enumerate(turn.pieces):
        if number:
            parts.append(_silence(float(random.uniform(SHORTEST, LONGEST))))
        last = number == len(turn.pieces) - 1
        speech = _spoken(voice, piece if last else f"{piece.rstrip(',')},", cache)
        begin = sum(map(len, parts)) / SAMPLE_RATE
        spans.append((begin, begin + len(speech) / SAMPLE_RATE))
        parts.append(speech)
    parts.append(_silence(TAIL_SECONDS))
    samples = _through(np.concatenate(parts), sound, random)
    return Clip(turn, voice.name, sound, samples, tuple(spans))


def _spoken(voice: Voice, text: str, cache: Path) -> Samples:
    """Speak a text; from where it is 30 dB below its loudest 10 ms to where it is so again."""
    key = hashlib.sha256(f"{voice.name}\0{text}".encode()).hexdigest()[:24]
    file = cache / "speech" / f"{key}.npy"
    if file.is_file():
        kept: Samples = np.load(file)
        return kept
    samples, rate = voice.speak(text)
    if rate != SAMPLE_RATE:
        import soxr

        samples = np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32)
    hop = SAMPLE_RATE // 100
    power = np.square(samples[: len(samples) // hop * hop].reshape(-1, hop)).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() / 1000)
    samples = samples[loud[0] * hop : (loud[-1] + 1) * hop]
    samples *= _SPEECH_LEVEL / max(1e-9, float(np.sqrt(np.square(samples).mean())))
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, samples)
    return samples


def _through(samples: Samples, sound: Sound, random: np.random.Generator) -> Samples:
    """Send samples through a room or a telephone."""
    level = _ROOM_LEVEL
    match sound:
        case Sound.NOISE_20:
            level = _SPEECH_LEVEL / 10
        case Sound.NOISE_10:
            level = _SPEECH_LEVEL / 10**0.5
    samples = samples + random.normal(0.0, level, len(samples)).astype(np.float32)
    if sound is Sound.TELEPHONE:
        spectrum = np.fft.rfft(samples)
        hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
        spectrum[(hertz < 300) | (hertz > 3400)] = 0
        samples = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
        format = AudioFormat(Encoding.PCM_MULAW, SAMPLE_RATE)
        samples = format.decode(format.encode(samples))
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def _random(*texts: str) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(texts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
