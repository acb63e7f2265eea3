"""Coded speech: a word is heard if it was said whole, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.coded_speech import (
    MAX_VOCABULARY,
    WORD_SECONDS,
    CodedWord,
    Pause,
    WordReader,
    noise,
    silence,
)

PCM16 = AudioFormat()


def read(pcm: bytes, audio: AudioFormat = PCM16, chunk: int = 1 << 20) -> list[CodedWord]:
    reader = WordReader(audio)
    chunks = [pcm[i : i + chunk] for i in range(0, len(pcm), chunk)]
    return [v for piece in chunks for v in reader.read(piece) if isinstance(v, CodedWord)]


def said(*words: CodedWord, audio: AudioFormat = PCM16, gap: float = 0.08) -> bytes:
    rate = audio.sample_rate
    pieces = [piece for word in words for piece in (silence(gap, rate), word.render(rate))]
    return audio.encode(np.concatenate([*pieces, silence(gap, rate)]))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_word_survives_every_encoding_and_rate(encoding: Encoding, rate: int) -> None:
    audio = AudioFormat(encoding, rate)
    words = [CodedWord(0), CodedWord(987, Pause.HELD), CodedWord(9999, Pause.NO_EAGER)]
    assert read(said(*words, audio=audio), audio) == words


@given(st.integers(0, MAX_VOCABULARY - 1), st.sampled_from([Pause(n) for n in range(4)]))
@settings(max_examples=60, deadline=None)
def test_every_word_is_told_from_every_other(index: int, pause: Pause) -> None:
    assert read(said(CodedWord(index, pause))) == [CodedWord(index, pause)]


@given(st.integers(0, 3000), st.integers(1, 4001))
@settings(max_examples=40, deadline=None)
def test_neither_the_place_where_audio_begins_nor_the_chunks_matter(skip: int, chunk: int) -> None:
    # 0.08 s of silence come first: 1280 samples.
    words = [CodedWord(17), CodedWord(4242)]
    heard = read(said(*words)[2 * skip :], chunk=chunk)
    if 1280 + 160 < skip < 1280 + 480:  # 10 to 30 ms of the word are missing: it may be either
        assert heard in (words, words[1:])
    else:
        assert heard == (words if skip <= 1280 + 160 else words[1:])


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("kept", [0.03, 0.07, 0.1, 0.13, 0.17])
def test_a_word_that_is_cut_is_no_word(kept: float, rate: int) -> None:
    audio = AudioFormat(sample_rate=rate)
    word = CodedWord(555).render(rate)
    size = round(kept * rate)
    quiet = silence(0.2, rate)
    for piece in (word[:size], word[-size:]):
        assert read(audio.encode(np.concatenate([quiet, piece, quiet])), audio) == []


@pytest.mark.parametrize("at", [0.02, 0.06, 0.09, 0.12, 0.16])
def test_a_word_that_lost_30_ms_is_no_word(at: float) -> None:
    word = CodedWord(321).render(16_000)
    cut = round(at * 16_000)
    holed = np.concatenate([silence(0.1, 16_000), word[:cut], word[cut + 480 :]])
    assert read(PCM16.encode(holed)) == []


def test_a_word_said_twice_is_heard_twice() -> None:
    assert read(said(CodedWord(7), CodedWord(7))) == [CodedWord(7), CodedWord(7)]


def test_a_word_cut_off_and_said_again_is_heard_once() -> None:
    word = CodedWord(31).render(16_000)
    again = np.concatenate([silence(0.1, 16_000), word[:2000], word, silence(0.1, 16_000)])
    assert read(PCM16.encode(again)) == [CodedWord(31)]


def test_words_without_a_gap_between_them_are_heard() -> None:
    assert read(said(CodedWord(1), CodedWord(2), gap=0.0)) == [CodedWord(1), CodedWord(2)]


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.5])
def test_gain_does_not_matter(gain: float) -> None:
    quieter = PCM16.decode(said(CodedWord(8642))) * np.float32(gain)
    assert read(PCM16.encode(quieter)) == [CodedWord(8642)]


def test_a_quiet_room_does_not_matter() -> None:
    pcm = PCM16.decode(said(CodedWord(8642)))
    assert read(PCM16.encode(pcm + noise(1, 16_000, level=0.005)[: len(pcm)])) == [CodedWord(8642)]


def test_resampling_does_not_matter() -> None:
    pcm = PCM16.decode(said(CodedWord(1234), CodedWord(56)))
    at_24k = np.arange(len(pcm) * 3 // 2) * 2 / 3
    resampled = np.interp(at_24k, np.arange(len(pcm)), pcm).astype(np.float32)
    audio = AudioFormat(sample_rate=24_000)
    assert read(audio.encode(resampled), audio) == [CodedWord(1234), CodedWord(56)]


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_word(seed: int) -> None:
    assert read(PCM16.encode(noise(5.0, 16_000, seed))) == []


def test_it_is_loud_to_an_energy_based_detector_and_does_not_clip() -> None:
    for index in (0, 111, 4567, 9999):
        sound = CodedWord(index).render(16_000)
        assert len(sound) == WORD_SECONDS * 16_000
        assert float(np.sqrt(np.mean(sound**2))) > 0.15
        assert float(np.abs(sound).max()) <= 0.6


def test_telephone_rates_are_the_lowest() -> None:
    with pytest.raises(UsageError, match="sample_rate"):
        CodedWord(1).render(7_999)
