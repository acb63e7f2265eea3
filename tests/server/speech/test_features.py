"""The log-mel analysis: its scale, and that it does not matter how the stream is cut."""

from __future__ import annotations

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.server.speech.features import BANDS, LogMel


def tone(hertz: float, seconds: float = 1.0, gain: float = 0.5) -> Samples:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (gain * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def analysed(samples: Samples, chunk: int = 512) -> LogMel:
    mel = LogMel()
    for start in range(0, len(samples), chunk):
        mel.append(samples[start : start + chunk])
    return mel


def test_a_frame_is_10_ms_and_the_last_one_waits_for_what_follows() -> None:
    assert len(analysed(tone(440, 1.0))) == 99


def test_the_chunks_do_not_matter() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    whole = analysed(noise, 16_000).whisper(0, 99, 200)
    for chunk in (1, 160, 333):
        np.testing.assert_allclose(analysed(noise, chunk).whisper(0, 99, 200), whole, atol=1e-5)


@pytest.mark.parametrize(("hertz", "band"), [(200, 5), (1000, 26), (4000, 62)])
def test_a_tone_is_loudest_in_its_band(hertz: float, band: int) -> None:
    features = analysed(tone(hertz)).whisper(20, 80, 60)
    assert abs(int(features[0].mean(axis=1).argmax()) - band) <= 1


def test_whisper_gets_a_window_that_is_padded_with_silence_at_its_end() -> None:
    features = analysed(tone(440)).whisper(0, 99, 1200)
    assert features.shape == (1, BANDS, 1200)
    assert features.dtype == np.float32
    quietest = features.min()
    assert (features[0, :, 110:] == quietest).all()
    assert features.max() - quietest == pytest.approx(2.0)


def test_smart_turn_gets_its_padding_first_and_does_not_mind_the_gain() -> None:
    loud = analysed(tone(440, gain=0.5)).smart_turn(0, 99, 800)
    quiet = analysed(tone(440, gain=0.05)).smart_turn(0, 99, 800)
    assert loud.shape == (1, BANDS, 800)
    assert (loud[0, :, :690] == loud.min()).all()
    np.testing.assert_allclose(loud, quiet, atol=1e-3)


def test_silence_and_emptiness_are_no_trouble() -> None:
    silent = LogMel()
    assert np.isfinite(silent.whisper(0, 0, 100)).all()
    silent.append(np.zeros(16_000, np.float32))
    assert np.isfinite(silent.whisper(0, 99, 100)).all()
    assert np.isfinite(silent.smart_turn(0, 99, 800)).all()


def test_the_newest_30_seconds_are_kept_under_their_numbers() -> None:
    mel = LogMel()
    mel.append(np.zeros(16_000 * 100, np.float32))
    mel.append(tone(440, 1.0))
    end = len(mel)
    assert end == 10_099
    assert mel.whisper(end - 100, end, 100).max() > mel.whisper(end - 300, end - 200, 100).max()
    assert mel.whisper(0, 100, 100).max() == mel.whisper(0, 100, 100).min()
