"""Voice activity detection: when somebody spoke, from the audio alone."""

from __future__ import annotations

import wave
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples
from cartesia_ink_plugins.core.stream.vad import FRAME, EnergyVAD
from cartesia_ink_plugins.server.script import Script, Turn

PCM16 = AudioFormat()
RECORDINGS = Path(__file__).parents[2] / "audio"

# Where the sentence begins and ends in each recording, in seconds; by eye, from its level every
# 10 ms: the first and the last sound of the reader that stands out of the room.
SENTENCES = {
    "ps_librivox_0870": (0.25, 6.80),
    "ps_librivox_0880": (0.27, 2.80),
    "ps_librivox_0890": (0.28, 5.00),
    "ps_librivox_0920": (0.29, 5.80),
    "ps_librivox_0930": (0.27, 2.98),
}
SCRIPT = Script(
    "Hello there.",
    Turn(["I'd like a table", 0.7, "for two people."], gap=0.4),
    Turn("Yes.", gap=1.0),
    "Tomorrow at seven thirty, outside if you can.",
    lead_in=1.0,
)


def analysed(audio: AudioFormat, pcm: bytes, chunk: float = 0.02, begin: float = 0.0) -> EnergyVAD:
    """Analyse audio that is received in real time, from `begin` on the clock."""
    vad = EnergyVAD(audio)
    size = audio.size(chunk)
    for at in range(0, len(pcm), size):
        piece = pcm[at : at + size]
        vad.audio_received(piece, begin + audio.seconds(at + len(piece)))
    return vad


def with_noise(samples: Samples, decibels: float, seed: int = 0) -> Samples:
    """Add white noise that is so many decibels below the signal."""
    power = np.square(samples).mean()
    noise = np.random.default_rng(seed).standard_normal(len(samples), np.float32)
    return samples + noise * np.float32(np.sqrt(power) * 10 ** (-decibels / 20))


def with_room(pcm: bytes, level: float = -65.0) -> bytes:
    """Add the tone of a quiet room, at a level in dBFS."""
    samples = PCM16.decode(pcm)
    room = np.random.default_rng(0).standard_normal(len(samples), np.float32)
    return PCM16.encode(samples + room * np.float32(10 ** (level / 20)))


def spans(vad: EnergyVAD, audio: AudioFormat, within: tuple[float, float]) -> list[float]:
    """First start and last end of the speech in a part of the stream."""
    found = vad.stretches(*(audio.size(edge) for edge in within))
    assert found, f"no speech was found between {within}"
    return [audio.seconds(found[0].start), audio.seconds(found[-1].end)]


class TestCodedSpeech:
    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
    def test_every_turn_is_found_to_the_frame(self, encoding: Encoding, rate: int) -> None:
        audio = AudioFormat(encoding, rate)
        vad = analysed(audio, SCRIPT.audio(audio))
        for start, end in SCRIPT.spans:
            assert spans(vad, audio, (start - 0.3, end + 0.3)) == pytest.approx(
                [start, end], abs=FRAME + 0.001
            )

    @pytest.mark.parametrize("seed", range(5))
    def test_in_noise_too(self, seed: int) -> None:
        noisy = with_noise(PCM16.decode(SCRIPT.audio()), 20, seed)
        vad = analysed(PCM16, PCM16.encode(noisy))
        for start, end in SCRIPT.spans:
            assert spans(vad, PCM16, (start - 0.3, end + 0.3)) == pytest.approx(
                [start, end], abs=0.05
            )

    def test_a_pause_inside_a_turn_is_a_pause(self) -> None:
        vad = analysed(PCM16, SCRIPT.audio())
        start, end = SCRIPT.spans[1]
        first, second = vad.stretches(PCM16.size(start), PCM16.size(end))
        assert PCM16.seconds(second.start - first.end) == pytest.approx(0.7, abs=2 * FRAME)

    def test_a_whisper_before_speech_is_sound_but_not_speech(self) -> None:
        """Too soft beside the voice of the turn before; but it may have been speech."""
        samples = PCM16.decode(SCRIPT.audio()).copy()
        start, _ = SCRIPT.spans[3]
        samples[PCM16.sample_rate * int(start) : int(PCM16.sample_rate * (start + 1.0))] *= 0.05
        (speech,) = analysed(PCM16, PCM16.encode(samples)).stretches(PCM16.size(start), 10**9)
        assert PCM16.seconds(speech.start) > start + 0.8
        assert PCM16.seconds(speech.sound) == pytest.approx(start, abs=2 * FRAME)

    def test_silence_before_speech_is_no_sound(self) -> None:
        vad = analysed(PCM16, with_room(SCRIPT.audio()))
        for speech in vad.stretches(0, 10**9):
            assert speech.start - speech.sound <= PCM16.size(2 * FRAME)

    def test_the_short_pause_between_two_words_is_no_pause(self) -> None:
        vad = analysed(PCM16, SCRIPT.audio())
        assert len(vad.stretches(0, PCM16.size(100))) == len(SCRIPT.turns) + 1

    @pytest.mark.parametrize("level", [1.0, 0.1, 0.03])
    def test_a_quiet_voice_is_found_too(self, level: float) -> None:
        quiet = (PCM16.decode(SCRIPT.audio()) * level).astype(np.float32)
        vad = analysed(PCM16, PCM16.encode(quiet))
        for start, end in SCRIPT.spans:
            assert spans(vad, PCM16, (start - 0.3, end + 0.3)) == pytest.approx(
                [start, end], abs=0.05
            )

    @settings(max_examples=20)
    @given(st.lists(st.integers(40, 4000), min_size=1, max_size=30))
    def test_how_the_audio_is_cut_makes_no_difference(self, sizes: list[int]) -> None:
        pcm = SCRIPT.audio()[: PCM16.size(4.0)]
        vad, at, cuts = EnergyVAD(PCM16), 0, cycle(sizes)
        while at < len(pcm):
            piece = pcm[at : at + 2 * next(cuts)]
            at += len(piece)
            vad.audio_received(piece, PCM16.seconds(at))
        whole = analysed(PCM16, pcm)
        assert vad.stretches(0, len(pcm)) == whole.stretches(0, len(pcm))

    def test_when_questions_are_asked_makes_no_difference(self) -> None:
        pcm = SCRIPT.audio()
        vad, size = EnergyVAD(PCM16), PCM16.size(0.05)
        for at in range(0, len(pcm), size):
            vad.audio_received(pcm[at : at + size], PCM16.seconds(at))
            vad.last(at)
        assert vad.stretches(0, len(pcm)) == analysed(PCM16, pcm).stretches(0, len(pcm))


class TestRecordedSpeech:
    @staticmethod
    def errors(noise: float | None, room_level: float) -> list[float]:
        """How far every start and end is off, for all recordings in one stream."""
        room = np.random.default_rng(0).standard_normal(PCM16.sample_rate * 20, np.float32)
        room *= np.float32(10 ** (room_level / 20))
        sounds: list[Samples] = []
        truth: list[tuple[float, float]] = []
        position = 0.0
        for name, (start, end) in SENTENCES.items():
            with wave.open(str(RECORDINGS / f"{name}.wav")) as file:
                samples = PCM16.decode(file.readframes(file.getnframes()))
            pause = room[len(sounds) * PCM16.sample_rate :][: PCM16.sample_rate]
            sounds += [pause, samples]
            truth.append((position + 1.0 + start, position + 1.0 + end))
            position += 1.0 + len(samples) / PCM16.sample_rate
        stream = np.concatenate([*sounds, room[: PCM16.sample_rate]])
        if noise is not None:
            stream = with_noise(stream, noise, seed=7)
        vad = analysed(PCM16, PCM16.encode(stream))
        return [
            abs(found - true)
            for start, end in truth
            for found, true in zip(
                spans(vad, PCM16, (start - 0.5, end + 0.5)), (start, end), strict=True
            )
        ]

    @pytest.mark.parametrize(
        ("noise", "room_level"),
        [
            pytest.param(None, -55.0, id="quiet room"),
            pytest.param(20.0, -55.0, id="noise at 20 dB"),
            pytest.param(None, -200.0, id="microphone opened for each sentence"),
        ],
    )
    def test_nine_of_ten_times_are_right_within_100_ms(
        self, noise: float | None, room_level: float
    ) -> None:
        errors = self.errors(noise, room_level)
        assert len(errors) == 2 * len(SENTENCES)
        assert np.quantile(errors, 0.9) <= 0.1

    def test_a_soft_last_syllable_is_not_lost_in_noise(self) -> None:
        """The ends alone, of a call of one sentence, in many samples of the noise."""
        errors = []
        for name, (_, end) in SENTENCES.items():
            with wave.open(str(RECORDINGS / f"{name}.wav")) as file:
                samples = PCM16.decode(file.readframes(file.getnframes()))
            level = np.float32(np.sqrt(np.square(samples).mean()) * 10 ** (-20 / 20))
            samples = np.concatenate([samples, np.zeros(PCM16.sample_rate * 3 // 2, np.float32)])
            for seed in range(6):
                noise = np.random.default_rng(seed).standard_normal(len(samples), np.float32)
                vad = analysed(PCM16, PCM16.encode(samples + noise * level))
                errors.append(abs(spans(vad, PCM16, (end - 0.5, end + 0.7))[1] - end))
        assert np.quantile(errors, 0.9) <= 0.1


class TestNoSpeech:
    @pytest.mark.parametrize("encoding", Encoding)
    def test_silence(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding, 8_000)
        vad = analysed(audio, audio.silence(5.0))
        assert vad.last(audio.size(5.0)) is None
        assert vad.seconds(0, audio.size(5.0)) == 0.0

    @pytest.mark.parametrize("level", [-60, -40, -20])
    def test_steady_noise(self, level: float) -> None:
        noise = np.random.default_rng(1).standard_normal(16_000 * 20, np.float32)
        pcm = PCM16.encode((noise * 10 ** (level / 20)).astype(np.float32))
        assert analysed(PCM16, pcm).seconds(0, len(pcm)) == 0.0

    @pytest.mark.parametrize("begin", [0.1, 0.3, 1.0])
    def test_noise_at_the_start_of_a_stream(self, begin: float) -> None:
        """Nothing is known of the noise yet, but its quietest frames are steady, as no voice is."""
        script = Script(Turn("Hello there.", after=1.0), lead_in=begin)
        vad = analysed(PCM16, PCM16.encode(with_noise(PCM16.decode(script.audio()), 20)))
        [(start, end)] = script.spans
        assert spans(vad, PCM16, (0.0, script.seconds)) == pytest.approx([start, end], abs=0.05)

    def test_a_voice_at_the_start_of_a_stream_is_speech(self) -> None:
        script = Script(Turn("Hello there.", after=1.0), lead_in=0.0)
        vad = analysed(PCM16, script.audio())
        assert spans(vad, PCM16, (0.0, 1.0))[0] < 0.05

    def test_a_constant_offset(self) -> None:
        pcm = PCM16.encode(np.full(16_000 * 5, 0.25, np.float32))
        assert analysed(PCM16, pcm).seconds(0, len(pcm)) == 0.0

    def test_a_click(self) -> None:
        samples = np.zeros(16_000 * 3, np.float32)
        samples[20_000:20_160] = 0.9
        pcm = PCM16.encode(samples)
        assert analysed(PCM16, pcm).seconds(0, len(pcm)) == 0.0

    def test_noise_that_sets_in_is_soon_not_taken_for_speech(self) -> None:
        noise = np.random.default_rng(1).standard_normal(16_000 * 30, np.float32)
        noise[: 16_000 * 5] *= np.float32(0.001)
        pcm = PCM16.encode((noise * 0.03).astype(np.float32))
        vad = analysed(PCM16, pcm)
        assert vad.seconds(PCM16.size(15.0), len(pcm)) == 0.0


def test_a_position_in_speech_has_its_end_and_one_in_silence_is_its_own() -> None:
    vad = analysed(PCM16, SCRIPT.audio())
    (start, end), (following, _) = SCRIPT.spans[:2]
    middle = PCM16.size((start + end) / 2)
    assert PCM16.seconds(vad.speech_end(middle)) == pytest.approx(end, abs=0.06)
    for seconds in (0.5, (end + following) / 2):
        assert vad.speech_end(PCM16.size(seconds)) == PCM16.size(seconds)


class TestTime:
    def test_a_position_has_the_time_at_which_it_was_handed_in(self) -> None:
        vad = analysed(PCM16, PCM16.silence(10.0), begin=100.0)
        for seconds in (0.0, 0.5, 3.3, 10.0):
            assert vad.time_of(PCM16.size(seconds)) == pytest.approx(100.0 + seconds, abs=0.03)

    def test_a_pause_in_the_stream_is_a_pause_in_time(self) -> None:
        vad = EnergyVAD(PCM16)
        for number in range(50):
            vad.audio_received(PCM16.silence(0.1), 0.1 * (number + 1))
        for number in range(50):
            vad.audio_received(PCM16.silence(0.1), 60.0 + 0.1 * (number + 1))
        assert vad.time_of(PCM16.size(4.0)) == pytest.approx(4.0, abs=0.03)
        assert vad.time_of(PCM16.size(5.0) - 1) == pytest.approx(5.0, abs=0.03)
        assert vad.time_of(PCM16.size(5.0)) == pytest.approx(60.0, abs=0.03)
        assert vad.time_of(PCM16.size(6.0)) == pytest.approx(61.0, abs=0.03)

    def test_jitter_of_arrival_is_smoothed(self) -> None:
        vad, jitter = EnergyVAD(PCM16), np.random.default_rng(0)
        for number in range(500):
            late = float(jitter.uniform(0, 0.015))
            vad.audio_received(PCM16.silence(0.02), 0.02 * (number + 1) + late)
        for seconds in (1.0, 5.0, 9.9):
            assert vad.time_of(PCM16.size(seconds)) == pytest.approx(seconds, abs=0.03)

    @pytest.mark.parametrize("stall", [0.0, 2.0])
    def test_a_short_delay_of_the_application_makes_no_speech_later(self, stall: float) -> None:
        vad = EnergyVAD(PCM16)
        for number in range(200):
            due = 0.02 * (number + 1)
            held_up = stall <= due < stall + 0.4
            vad.audio_received(PCM16.silence(0.02), stall + 0.4 + number * 1e-4 if held_up else due)
        for seconds in (0.1, 1.9, 2.01, 2.2, 2.39, 2.5, 3.9):
            assert vad.time_of(PCM16.size(seconds)) == pytest.approx(seconds, abs=0.03)

    def test_audio_faster_than_real_time_has_the_times_at_which_it_arrived(self) -> None:
        vad = EnergyVAD(PCM16)
        for number in range(500):
            vad.audio_received(PCM16.silence(0.02), 100.0 + number * 1e-4)
        for seconds in (2.0, 5.0, 9.9):
            assert vad.time_of(PCM16.size(seconds)) == pytest.approx(100.0, abs=0.1)

    def test_audio_that_comes_evenly_is_known_for_any_time(self) -> None:
        """No arrival time is noted twice, of which only some hundreds are kept."""
        vad = EnergyVAD(PCM16)
        for number in range(1, 1100):
            vad.audio_received(PCM16.silence(0.01), 100.0 + 0.01 * number)
        assert vad.time_of(0) == pytest.approx(100.0)

    def test_an_unknown_time_is_none(self) -> None:
        vad = EnergyVAD(PCM16)
        assert vad.time_of(0) is None
        for number in range(2000):  # every piece comes after another pause
            vad.audio_received(PCM16.silence(0.02), number * 1.0)
        assert vad.time_of(0) is None
        assert vad.time_of(PCM16.size(39.9)) is not None


def test_speech_that_goes_on_is_open_and_speech_that_is_over_is_closed() -> None:
    script = Script(Turn("one two three four five six", after=1.0))
    pcm = script.audio()
    vad = EnergyVAD(PCM16)
    half = PCM16.size(sum(script.spans[0]) / 2)
    vad.audio_received(pcm[:half], 1.0)
    speech = vad.last(half)
    assert speech is not None
    assert speech.open
    vad.audio_received(pcm[half:], 2.0)
    speech = vad.last(len(pcm))
    assert speech is not None
    assert not speech.open


def test_speech_is_over_when_audio_stops() -> None:
    word = Script(Turn("one two three", after=0.0), lead_in=0.5).audio()
    vad = analysed(PCM16, word)
    vad.audio_stopped()
    for at in range(0, len(word), 640):
        vad.audio_received(word[at : at + 640], 60.0 + PCM16.seconds(at + 640))
    first, second = vad.stretches(0, 2 * len(word))
    assert not first.open
    assert PCM16.seconds(second.start) == pytest.approx(PCM16.seconds(len(word)) + 0.5, abs=0.03)


def test_only_speech_in_the_given_part_of_the_stream_is_returned() -> None:
    vad = analysed(PCM16, SCRIPT.audio())
    (first, *_), last = SCRIPT.spans, SCRIPT.spans[-1]
    assert vad.stretches(0, PCM16.size(first[0] - 0.1)) == []
    assert vad.seconds(*map(PCM16.size, (first[0] - 0.2, first[1] + 0.2))) == pytest.approx(
        first[1] - first[0], abs=0.05
    )
    before = vad.last(PCM16.size(last[0] - 0.5))
    assert before is not None
    assert PCM16.seconds(before.end) < last[0] - 0.5


def test_an_hour_takes_no_more_memory_than_some_minutes() -> None:
    vad = EnergyVAD(PCM16)
    word = Script(Turn("word", after=0.3), lead_in=0.0).audio()
    for number in range(3600):
        vad.audio_received(word, number * 1.0)
    assert len(vad.stretches(0, 10**12)) <= 256
