"""Bytes, seconds and samples of the six encodings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, as_bytes, downmix
from cartesia_ink_plugins.core.errors import UsageError

WIDTHS = {
    Encoding.PCM_S16LE: 2,
    Encoding.PCM_S32LE: 4,
    Encoding.PCM_F16LE: 2,
    Encoding.PCM_F32LE: 4,
    Encoding.PCM_MULAW: 1,
    Encoding.PCM_ALAW: 1,
}
RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)
MULAW, ALAW = AudioFormat(Encoding.PCM_MULAW, 8000), AudioFormat(Encoding.PCM_ALAW, 8000)
PCM16 = AudioFormat()

formats = st.builds(AudioFormat, st.sampled_from(Encoding), st.sampled_from(RATES))
signals = hnp.arrays(
    np.float32, st.integers(0, 200), elements=st.floats(-1, 1, width=32, allow_subnormal=False)
)


class TestEncodings:
    def test_the_names_of_the_api(self) -> None:
        assert [e.value for e in Encoding] == [
            "pcm_s16le",
            "pcm_s32le",
            "pcm_f16le",
            "pcm_f32le",
            "pcm_mulaw",
            "pcm_alaw",
        ]

    @pytest.mark.parametrize("encoding", Encoding)
    def test_a_name_finds_its_encoding(self, encoding: Encoding) -> None:
        assert Encoding.parse(encoding.value) is encoding
        assert Encoding.parse(encoding) is encoding

    @pytest.mark.parametrize("name", ["linear16", "PCM_S16LE", "", "opus"])
    def test_an_unknown_name_is_an_error_that_lists_the_known_ones(self, name: str) -> None:
        with pytest.raises(UsageError, match=r"^encoding: .* is not one of pcm_s16le, .*pcm_alaw"):
            Encoding.parse(name)

    @pytest.mark.parametrize("encoding", Encoding)
    def test_sample_widths(self, encoding: Encoding) -> None:
        assert encoding.sample_width == WIDTHS[encoding]


class TestSecondsAndBytes:
    @pytest.mark.parametrize("encoding", Encoding)
    def test_one_second(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding, 16_000)
        assert audio.byte_rate == 16_000 * WIDTHS[encoding]
        assert audio.size(1.0) == audio.byte_rate
        assert audio.seconds(audio.byte_rate) == 1.0

    @given(formats, st.integers(0, 100_000_000))
    def test_whole_samples_survive_the_way_to_seconds_and_back(
        self, audio: AudioFormat, samples: int
    ) -> None:
        size = samples * audio.sample_width
        assert audio.size(audio.seconds(size)) == size

    @given(formats, st.integers(0, 10_000))
    def test_whole_milliseconds_lose_no_sample(self, audio: AudioFormat, ms: int) -> None:
        assert audio.size(ms / 1000) == ms * audio.sample_rate // 1000 * audio.sample_width

    @given(formats, st.floats(0, 1000))
    def test_sizes_are_whole_samples(self, audio: AudioFormat, seconds: float) -> None:
        audio.validate(audio.size(seconds))

    @pytest.mark.parametrize("encoding", [e for e in Encoding if WIDTHS[e] > 1])
    def test_half_samples_are_an_error(self, encoding: Encoding) -> None:
        with pytest.raises(UsageError, match=rf"^pcm: 321 bytes .* {encoding.value}"):
            AudioFormat(encoding).validate(321)

    @pytest.mark.parametrize("audio", [MULAW, ALAW])
    def test_companded_audio_may_have_any_number_of_bytes(self, audio: AudioFormat) -> None:
        audio.validate(321)


class TestSilence:
    @given(formats, st.floats(0, 2))
    def test_it_has_the_length_asked_for_and_is_silent(
        self, audio: AudioFormat, seconds: float
    ) -> None:
        silence = audio.silence(seconds)
        assert len(silence) == audio.size(seconds)
        # A-law has no zero: its smallest step is the nearest there is.
        assert np.abs(audio.decode(silence)).max(initial=0) <= 8 / 32768

    def test_it_is_not_zero_bytes_where_zero_bytes_are_loud(self) -> None:
        assert MULAW.silence(0.001) == b"\xff" * 8
        assert ALAW.silence(0.001) == b"\xd5" * 8
        for audio in (MULAW, ALAW):
            assert np.abs(audio.decode(b"\0")).max() > 0.1


class TestSamples:
    @given(formats, signals)
    def test_a_round_trip_costs_no_more_than_quantisation(
        self, audio: AudioFormat, samples: npt.NDArray[np.float32]
    ) -> None:
        error = np.abs(audio.decode(audio.encode(samples)) - samples)
        size = np.abs(samples)
        step = {
            Encoding.PCM_S16LE: np.where(samples > 32767 / 32768, 1 / 32768, 0.5 / 32768),
            Encoding.PCM_S32LE: 2.0**-24 + size * 0,
            Encoding.PCM_F16LE: size * 2.0**-11 + 2.0**-25,
            Encoding.PCM_F32LE: size * 0,
            # 16 steps to the octave above the smallest segment.
            Encoding.PCM_MULAW: size / 32 + 10 / 32768,
            Encoding.PCM_ALAW: size / 32 + 10 / 32768,
        }[audio.encoding]
        assert (error <= step + 1e-9).all()

    @given(formats, signals)
    def test_bytes_are_whole_samples(
        self, audio: AudioFormat, samples: npt.NDArray[np.float32]
    ) -> None:
        assert len(audio.encode(samples)) == len(samples) * audio.sample_width

    @pytest.mark.parametrize("encoding", Encoding)
    def test_samples_that_are_too_loud_are_clipped_not_wrapped(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding)
        loud = audio.decode(audio.encode(np.array([2.0, -2.0], np.float32)))
        assert loud == pytest.approx([1.0, -1.0], abs=0.02)

    def test_little_endian(self) -> None:
        half = np.array([0.5], np.float32)
        assert AudioFormat(Encoding.PCM_S16LE).encode(half) == b"\x00\x40"
        assert AudioFormat(Encoding.PCM_F16LE).encode(half) == b"\x00\x38"
        assert AudioFormat(Encoding.PCM_F32LE).encode(half) == b"\x00\x00\x00\x3f"
        assert AudioFormat(Encoding.PCM_S32LE).decode(b"\x00\x00\x00\x40") == pytest.approx(0.5)

    @pytest.mark.parametrize("encoding", [Encoding.PCM_F16LE, Encoding.PCM_F32LE])
    def test_what_is_no_number_is_decoded_as_silence(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding)
        dtype = "<f2" if encoding is Encoding.PCM_F16LE else "<f4"
        pcm = np.array([np.nan, np.inf, -np.inf, 0.5], dtype).tobytes()
        assert audio.decode(pcm).tolist() == [0, 0, 0, 0.5]


# ITU-T G.711 (11/88), tables 1a/2a: decoder output values and their characters. The uniform scale
# of A-law has 4096 steps, that of µ-law 8159; 16-bit samples are 8 and 4 times as large.
ALAW_POINTS = {0xAA: 4032, 0xA5: 2112, 0xB5: 1056, 0x85: 528, 0x95: 264, 0xE5: 132, 0xF5: 66}
ALAW_POINTS |= {0xD5: 1, 0x55: -1, 0x2A: -4032, 0x25: -2112, 0x75: -66}
MULAW_POINTS = {0x80: 8031, 0x8F: 4191, 0x9F: 2079, 0xAF: 1023, 0xBF: 495, 0xCF: 231, 0xDF: 99}
MULAW_POINTS |= {0xEF: 33, 0xFE: 2, 0xFF: 0, 0x7F: 0, 0x00: -8031, 0x0F: -4191, 0x6F: -33}


def mulaw_of_the_standard(sample: int) -> int:
    """Encode one 16-bit sample by the decision values of table 2a."""
    magnitude = min(abs(sample) / 4, 8158.99)
    segment, lower = 0, -1.0  # the lowest interval is 0 to 1, half as wide as its neighbours
    while magnitude >= lower + (32 << segment):
        lower += 32 << segment
        segment += 1
    interval = int((magnitude - lower) / (2 << segment))
    return ~(segment << 4 | interval | (0x80 if sample < 0 else 0)) & 0xFF


def alaw_of_the_standard(sample: int) -> int:
    """Encode one 16-bit sample by the decision values of table 1a."""
    magnitude = min((abs(sample) if sample >= 0 else abs(sample) - 1) / 8, 4095.99)
    segment = 0 if magnitude < 32 else int(np.log2(magnitude)) - 4
    width = 2 << max(segment - 1, 0)
    lower = 16 << segment if segment else 0
    interval = int((magnitude - lower) / width)
    return (segment << 4 | interval | (0x80 if sample >= 0 else 0)) ^ 0x55


class TestG711:
    @pytest.mark.parametrize(
        ("audio", "points", "scale"), [(ALAW, ALAW_POINTS, 8), (MULAW, MULAW_POINTS, 4)]
    )
    def test_decoder_output_values_of_the_standard(
        self, audio: AudioFormat, points: dict[int, int], scale: int
    ) -> None:
        decoded = audio.decode(bytes(points)) * 32768
        assert decoded.tolist() == [value * scale for value in points.values()]

    def test_every_character_by_the_formulas_of_the_standard(self) -> None:
        characters = bytes(range(256))
        for audio, values in ((MULAW, _mulaw_values()), (ALAW, _alaw_values())):
            assert (audio.decode(characters) * 32768).tolist() == values

    @pytest.mark.parametrize("audio", [ALAW, MULAW])
    def test_a_character_is_the_same_after_decoding_and_encoding(self, audio: AudioFormat) -> None:
        characters = bytes(range(256))
        samples = audio.decode(characters)
        assert (audio.decode(audio.encode(samples)) == samples).all()

    @pytest.mark.parametrize(
        ("audio", "reference"), [(ALAW, alaw_of_the_standard), (MULAW, mulaw_of_the_standard)]
    )
    def test_no_sample_is_coded_worse_than_by_the_standard(
        self, audio: AudioFormat, reference: Callable[[int], int]
    ) -> None:
        samples = np.arange(-32768, 32768, 7, dtype=np.int32)
        theirs = bytes(reference(int(sample)) for sample in samples)
        ours = audio.encode((samples / 32768).astype(np.float32))
        exact = samples / 32768
        assert (
            np.abs(audio.decode(ours) - exact) <= np.abs(audio.decode(theirs) - exact) + 1e-9
        ).all()
        same = np.mean(np.frombuffer(ours, "u1") == np.frombuffer(theirs, "u1"))
        assert same > 0.97  # only between two segments there is a nearer one than the standard's


def _mulaw_values() -> list[int]:
    """Value of every character: (33 + 2·interval)·2^segment - 33, all bits inverted."""
    values = []
    for character in range(256):
        bits = character ^ 0xFF
        size = 4 * (((33 + 2 * (bits & 15)) << (bits >> 4 & 7)) - 33)
        values.append(-size if bits & 0x80 else size)
    return values


def _alaw_values() -> list[int]:
    """Value of every character: the middle of its interval, even bits inverted."""
    values = []
    for character in range(256):
        bits = character ^ 0x55
        segment, interval = bits >> 4 & 7, bits & 15
        steps = (33 + 2 * interval) << (segment - 1) if segment else 2 * interval + 1
        size = 8 * steps
        values.append(size if bits & 0x80 else -size)
    return values


SPEECH = np.round(np.random.default_rng(1).normal(0, 3000, 3200))


def mixed(frames: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    return np.frombuffer(downmix(frames.astype("<i2").tobytes(), frames.shape[1]), "<i2")


class TestDownmix:
    def test_mono_stays_as_it_is(self) -> None:
        pcm = PCM16.encode(np.linspace(-1, 1, 9, dtype=np.float32))
        assert downmix(pcm, 1) == pcm

    @given(
        st.integers(2, 6).flatmap(
            lambda channels: hnp.arrays(np.int16, st.tuples(st.integers(0, 50), st.just(channels)))
        )
    )
    def test_channels_are_averaged_unless_they_cancel_and_never_overflow(
        self, frames: npt.NDArray[np.int16]
    ) -> None:
        mono = mixed(frames)
        assert len(mono) == len(frames)
        total = frames.sum(axis=1, dtype=float)
        powers = (frames.astype(float) ** 2).sum(axis=0)
        if total @ total >= 0.21 * powers.max(initial=0):
            assert np.abs(mono - frames.mean(axis=1)).max(initial=0) <= 0.5
        assert (mono >= frames.min(axis=1, initial=32767)).all()
        assert (mono <= frames.max(axis=1, initial=-32768)).all()

    @pytest.mark.parametrize(
        ("gains", "expected"),
        [
            ((1, 1), 1),
            ((1, -1), 1),  # one channel inverted
            ((1, -0.9), 1),  # ... and quieter
            ((0.1, -1), -0.45),  # nothing is cancelled: one channel is quiet
            ((1, 0), 0.5),  # one channel is silent
            ((0, 0, 0, 0, 0, 0, 0, 1), 0.125),
            ((1, -1, 1, -1), 1),
            ((0, 1, -1, 0), 1),  # the first channel is silent
        ],
    )
    def test_an_inverted_channel_does_not_silence_the_others(
        self, gains: tuple[float, ...], expected: float
    ) -> None:
        mono = mixed(np.round(np.outer(SPEECH, gains)))
        assert np.abs(mono - expected * SPEECH).max() <= 1

    def test_two_who_speak_at_once_are_both_in_the_mix(self) -> None:
        other = np.round(np.random.default_rng(2).normal(0, 2000, len(SPEECH)))
        mono = mixed(np.stack([SPEECH, other], axis=1))
        assert np.abs(mono - (SPEECH + other) / 2).max() <= 0.5

    def test_between_cancelled_and_not_nothing_jumps(self) -> None:
        """The less the channels cancel, the more of the mean; neighbours are alike."""
        strengths = np.linspace(0.0, 1.0, 101)
        levels = [
            float(np.abs(mixed(np.round(np.outer(SPEECH, (1, -gain))))).mean())
            for gain in strengths
        ]
        assert np.abs(np.diff(levels)).max() < 0.1 * np.abs(SPEECH).mean()
        assert min(levels) > 0.2 * np.abs(SPEECH).mean()

    def test_pieces_of_one_recording_come_from_one_channel(self) -> None:
        """Noise makes now one channel the louder one, now the other, and changes nothing."""
        noise = np.random.default_rng(3).normal(0, 30, (len(SPEECH), 2))
        frames = np.round(np.stack([SPEECH, -SPEECH], axis=1) + noise)
        pieces = [mixed(frames[at : at + 320]) for at in range(0, len(frames), 320)]
        assert np.corrcoef(np.concatenate(pieces), SPEECH)[0, 1] > 0.99

    @pytest.mark.parametrize(("size", "channels"), [(6, 2), (3, 2), (8, 3), (4, 0), (4, -1)])
    def test_what_are_no_whole_frames_is_an_error(self, size: int, channels: int) -> None:
        with pytest.raises(UsageError, match=r"^pcm: "):
            downmix(bytes(size), channels)


class TestAsBytes:
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_is_copied(self, kind: type[bytes | bytearray | memoryview]) -> None:
        data = bytearray(b"abcd")
        copy = as_bytes(kind(data))
        data[0] = 0
        assert copy == b"abcd"
        assert type(copy) is bytes

    def test_a_buffer_of_numbers_is_copied_as_its_bytes(self) -> None:
        assert as_bytes(np.array([1, 2], "<i2")) == b"\x01\x00\x02\x00"

    @pytest.mark.parametrize("pcm", ["abcd", 4, None, [0, 0]])
    def test_what_is_no_buffer_is_an_error(self, pcm: object) -> None:
        with pytest.raises(UsageError, match=r"^pcm: must be bytes, not "):
            as_bytes(pcm)
