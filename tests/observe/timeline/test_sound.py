"""The embedded sound: half a byte a sample, and still speech."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt
import pytest

from cartesia_ink_plugins.demo import caller
from cartesia_ink_plugins.observe.reader import RecordedAudio
from cartesia_ink_plugins.observe.timeline import sound
from cartesia_ink_plugins.observe.timeline.sound import adpcm, at_rate, embedded, loudness

Samples = npt.NDArray[np.int16]


def speech() -> Samples:
    pcm = np.frombuffer(caller.recording(caller.LINES[0]), np.int16)
    return at_rate(pcm, caller.SAMPLE_RATE).astype(np.int16)


def decoded(data: bytes) -> Samples:
    """Decode as the IMA wrote it down, a sample at a time."""
    out = []
    for at in range(0, len(data), 132):
        value = int.from_bytes(data[at : at + 2], "little", signed=True)
        index = data[at + 2]
        for place in range(256):
            byte = data[at + 4 + place // 2]
            code = byte >> 4 if place % 2 else byte & 15
            step = int(sound.STEPS[index])
            change = (step >> 3) + ((code & 7) * step >> 2)
            value = max(-32768, min(32767, value - change if code & 8 else value + change))
            index = max(0, min(88, index + (-1, -1, -1, -1, 2, 4, 6, 8)[code & 7]))
            out.append(value)
    return np.array(out, np.int16)


def noise_ratio(original: Samples, copy: Samples) -> float:
    """In dB."""
    error = copy[: len(original)].astype(float) - original
    return float(10 * np.log10(np.square(original.astype(float)).mean() / np.square(error).mean()))


def test_speech_is_still_speech() -> None:
    original = speech()
    assert noise_ratio(original, decoded(adpcm(original))) > 18  # dB


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257])
def test_any_length_has_whole_blocks(size: int) -> None:
    data = adpcm(np.ones(size, np.int16))
    assert len(data) == -(-size // 256) * 132


def test_the_loudest_sound_does_not_overflow() -> None:
    original = (np.arange(4096) // 20 % 2 * 65535 - 32768).astype(np.int16)
    assert noise_ratio(original, decoded(adpcm(original))) > 6


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000, 11_025])
def test_any_rate_becomes_8_khz(rate: int) -> None:
    times = np.arange(rate) / rate
    tone = (10_000 * np.sin(2 * np.pi * 400 * times)).astype(np.int16)
    made = at_rate(tone, rate)
    assert len(made) == pytest.approx(8_000, abs=2)
    spectrum = np.abs(np.fft.rfft(made.astype(float)))
    assert np.argmax(spectrum) * 8_000 / len(made) == pytest.approx(400, abs=2)


def test_both_channels_are_in_the_sound() -> None:
    silence = np.zeros(8_000, np.int16)
    tone = (10_000 * np.sin(np.arange(8_000) / 4)).astype(np.int16)
    for caller_, bot in ((silence, tone), (tone, silence)):
        audio = RecordedAudio(8_000, 0.0, caller_, bot)
        copy = decoded(base64.b64decode(embedded(audio)))
        assert noise_ratio(tone, copy) > 15


def test_loudness_is_that_of_the_peaks() -> None:
    samples = np.zeros(16_000, np.int16)
    samples[8_000:9_000] = -16_384
    peaks = loudness(samples, 16_000)
    assert len(peaks) == 12
    assert peaks.max() == 0.5
    assert peaks[:5].max() == 0
