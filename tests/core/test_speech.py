"""The speech clock: when somebody spoke, from the audio alone."""

from __future__ import annotations

import wave
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples
from cartesia_ink_plugins.core.speech import FRAME, SpeechClock
from cartesia_ink_plugins.server.script import Script, Turn

PCM16 = AudioFormat()
RECORDINGS = Path(__file__).parent.parent / "audio"

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


def listen(audio: AudioFormat, pcm: bytes, chunk: float = 0.02, begin: float = 0.0) -> SpeechClock:
    """Hear audio in real time, from `begin` on the clock."""
    clock = SpeechClock(audio)
    size = audio.size(chunk)
    for at in range(0, len(pcm), size):
        piece = pcm[at : at + size]
        clock.hear(piece, begin + audio.seconds(at + len(piece)))
    return clock


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


def spans(clock: SpeechClock, audio: AudioFormat, within: tuple[float, float]) -> list[float]:
    """First start and last end of the speech in a part of the stream."""
    found = clock.stretches(*(audio.size(edge) for edge in within))
    assert found, f"nobody was heard between {within}"
    return [audio.seconds(found[0].start), audio.seconds(found[-1].end)]


class TestCodedSpeech:
    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
    def test_every_turn_is_found_to_the_frame(self, encoding: Encoding, rate: int) -> None:
        audio = AudioFormat(encoding, rate)
        clock = listen(audio, SCRIPT.audio(audio))
        for start, end in SCRIPT.spans:
            assert spans(clock, audio, (start - 0.3, end + 0.3)) == pytest.approx(
                [start, end], abs=FRAME + 0.001
            )

    @pytest.mark.parametrize("seed", range(5))
    def test_so_it_is_in_noise(self, seed: int) -> None:
        noisy = with_noise(PCM16.decode(SCRIPT.audio()), 20, seed)
        clock = listen(PCM16, PCM16.encode(noisy))
        for start, end in SCRIPT.spans:
            assert spans(clock, PCM16, (start - 0.3, end + 0.3)) == pytest.approx(
                [start, end], abs=0.05
            )

    def test_a_pause_inside_a_turn_is_a_pause(self) -> None:
        clock = listen(PCM16, SCRIPT.audio())
        start, end = SCRIPT.spans[1]
        first, second = clock.stretches(PCM16.size(start), PCM16.size(end))
        assert PCM16.seconds(second.start - first.end) == pytest.approx(0.7, abs=2 * FRAME)

    def test_a_whisper_before_it_is_sound_if_not_yet_speech(self) -> None:
        """Too soft beside the voice of the turn before; but it may have been words."""
        samples = PCM16.decode(SCRIPT.audio()).copy()
        start, _ = SCRIPT.spans[3]
        samples[PCM16.sample_rate * int(start) : int(PCM16.sample_rate * (start + 1.0))] *= 0.05
        (speech,) = listen(PCM16, PCM16.encode(samples)).stretches(PCM16.size(start), 10**9)
        assert PCM16.seconds(speech.start) > start + 0.8
        assert PCM16.seconds(speech.sound) == pytest.approx(start, abs=2 * FRAME)

    def test_where_it_was_silent_before_no_sound_is(self) -> None:
        clock = listen(PCM16, with_room(SCRIPT.audio()))
        for speech in clock.stretches(0, 10**9):
            assert speech.start - speech.sound <= PCM16.size(2 * FRAME)

    def test_the_breath_between_two_words_is_none(self) -> None:
        clock = listen(PCM16, SCRIPT.audio())
        assert len(clock.stretches(0, PCM16.size(100))) == len(SCRIPT.turns) + 1

    @pytest.mark.parametrize("level", [1.0, 0.1, 0.03])
    def test_a_quiet_voice_is_heard_too(self, level: float) -> None:
        quiet = (PCM16.decode(SCRIPT.audio()) * level).astype(np.float32)
        clock = listen(PCM16, PCM16.encode(quiet))
        for start, end in SCRIPT.spans:
            assert spans(clock, PCM16, (start - 0.3, end + 0.3)) == pytest.approx(
                [start, end], abs=0.05
            )

    @settings(max_examples=20)
    @given(st.lists(st.integers(40, 4000), min_size=1, max_size=30))
    def test_how_the_audio_is_cut_makes_no_difference(self, sizes: list[int]) -> None:
        pcm = SCRIPT.audio()[: PCM16.size(4.0)]
        clock, at, cuts = SpeechClock(PCM16), 0, cycle(sizes)
        while at < len(pcm):
            piece = pcm[at : at + 2 * next(cuts)]
            at += len(piece)
            clock.hear(piece, PCM16.seconds(at))
        whole = listen(PCM16, pcm)
        assert clock.stretches(0, len(pcm)) == whole.stretches(0, len(pcm))

    def test_when_it_is_asked_makes_no_difference(self) -> None:
        pcm = SCRIPT.audio()
        clock, size = SpeechClock(PCM16), PCM16.size(0.05)
        for at in range(0, len(pcm), size):
            clock.hear(pcm[at : at + size], PCM16.seconds(at))
            clock.last(at)
        assert clock.stretches(0, len(pcm)) == listen(PCM16, pcm).stretches(0, len(pcm))


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
        clock = listen(PCM16, PCM16.encode(stream))
        return [
            abs(heard - true)
            for start, end in truth
            for heard, true in zip(
                spans(clock, PCM16, (start - 0.5, end + 0.5)), (start, end), strict=True
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


class TestWhatIsNoSpeech:
    @pytest.mark.parametrize("encoding", Encoding)
    def test_silence(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding, 8_000)
        clock = listen(audio, audio.silence(5.0))
        assert clock.last(audio.size(5.0)) is None
        assert clock.seconds(0, audio.size(5.0)) == 0.0

    @pytest.mark.parametrize("level", [-60, -40, -20])
    def test_steady_noise(self, level: float) -> None:
        noise = np.random.default_rng(1).standard_normal(16_000 * 20, np.float32)
        pcm = PCM16.encode((noise * 10 ** (level / 20)).astype(np.float32))
        assert listen(PCM16, pcm).seconds(0, len(pcm)) == 0.0

    @pytest.mark.parametrize("begin", [0.1, 0.3, 1.0])
    def test_noise_that_a_stream_begins_with(self, begin: float) -> None:
        """Nothing is known of it yet, but where it is alone it is steady, as no voice is."""
        script = Script(Turn("Hello there.", after=1.0), lead_in=begin)
        clock = listen(PCM16, PCM16.encode(with_noise(PCM16.decode(script.audio()), 20)))
        [(start, end)] = script.spans
        assert spans(clock, PCM16, (0.0, script.seconds)) == pytest.approx([start, end], abs=0.05)

    def test_a_voice_that_a_stream_begins_with_is_one(self) -> None:
        script = Script(Turn("Hello there.", after=1.0), lead_in=0.0)
        clock = listen(PCM16, script.audio())
        assert spans(clock, PCM16, (0.0, 1.0))[0] < 0.05

    def test_a_constant_offset(self) -> None:
        pcm = PCM16.encode(np.full(16_000 * 5, 0.25, np.float32))
        assert listen(PCM16, pcm).seconds(0, len(pcm)) == 0.0

    def test_a_click(self) -> None:
        samples = np.zeros(16_000 * 3, np.float32)
        samples[20_000:20_160] = 0.9
        pcm = PCM16.encode(samples)
        assert listen(PCM16, pcm).seconds(0, len(pcm)) == 0.0

    def test_noise_that_sets_in_is_not_speech_for_ever(self) -> None:
        noise = np.random.default_rng(1).standard_normal(16_000 * 30, np.float32)
        noise[: 16_000 * 5] *= np.float32(0.001)
        pcm = PCM16.encode((noise * 0.03).astype(np.float32))
        clock = listen(PCM16, pcm)
        assert clock.seconds(PCM16.size(15.0), len(pcm)) == 0.0


class TestTime:
    def test_a_position_has_the_time_at_which_it_was_handed_in(self) -> None:
        clock = listen(PCM16, PCM16.silence(10.0), begin=100.0)
        for seconds in (0.0, 0.5, 3.3, 10.0):
            assert clock.time_of(PCM16.size(seconds)) == pytest.approx(100.0 + seconds, abs=0.03)

    def test_a_pause_in_the_stream_is_a_pause_in_time(self) -> None:
        clock = SpeechClock(PCM16)
        for number in range(50):
            clock.hear(PCM16.silence(0.1), 0.1 * (number + 1))
        for number in range(50):
            clock.hear(PCM16.silence(0.1), 60.0 + 0.1 * (number + 1))
        assert clock.time_of(PCM16.size(4.0)) == pytest.approx(4.0, abs=0.03)
        assert clock.time_of(PCM16.size(5.0) - 1) == pytest.approx(5.0, abs=0.03)
        assert clock.time_of(PCM16.size(5.0)) == pytest.approx(60.0, abs=0.03)
        assert clock.time_of(PCM16.size(6.0)) == pytest.approx(61.0, abs=0.03)

    def test_jitter_of_arrival_is_evened_out(self) -> None:
        clock, jitter = SpeechClock(PCM16), np.random.default_rng(0)
        for number in range(500):
            late = float(jitter.uniform(0, 0.015))
            clock.hear(PCM16.silence(0.02), 0.02 * (number + 1) + late)
        for seconds in (1.0, 5.0, 9.9):
            assert clock.time_of(PCM16.size(seconds)) == pytest.approx(seconds, abs=0.03)

    @pytest.mark.parametrize("stall", [0.0, 2.0])
    def test_an_application_that_stands_still_for_a_moment_makes_no_words_later(
        self, stall: float
    ) -> None:
        clock = SpeechClock(PCM16)
        for number in range(200):
            due = 0.02 * (number + 1)
            held_up = stall <= due < stall + 0.4
            clock.hear(PCM16.silence(0.02), stall + 0.4 + number * 1e-4 if held_up else due)
        for seconds in (0.1, 1.9, 2.01, 2.2, 2.39, 2.5, 3.9):
            assert clock.time_of(PCM16.size(seconds)) == pytest.approx(seconds, abs=0.03)

    def test_audio_that_comes_faster_than_one_speaks_has_the_times_at_which_it_came(self) -> None:
        clock = SpeechClock(PCM16)
        for number in range(500):
            clock.hear(PCM16.silence(0.02), 100.0 + number * 1e-4)
        for seconds in (2.0, 5.0, 9.9):
            assert clock.time_of(PCM16.size(seconds)) == pytest.approx(100.0, abs=0.1)

    def test_unknown_is_none_and_no_guess(self) -> None:
        clock = SpeechClock(PCM16)
        assert clock.time_of(0) is None
        for number in range(2000):  # every piece comes after another pause
            clock.hear(PCM16.silence(0.02), number * 1.0)
        assert clock.time_of(0) is None
        assert clock.time_of(PCM16.size(39.9)) is not None


def test_speech_that_goes_on_is_open_and_speech_that_is_over_is_not() -> None:
    script = Script(Turn("one two three four five six", after=1.0))
    pcm = script.audio()
    clock = SpeechClock(PCM16)
    half = PCM16.size(sum(script.spans[0]) / 2)
    clock.hear(pcm[:half], 1.0)
    speech = clock.last(half)
    assert speech is not None
    assert speech.open
    clock.hear(pcm[half:], 2.0)
    speech = clock.last(len(pcm))
    assert speech is not None
    assert not speech.open


def test_speech_is_over_when_no_more_audio_comes() -> None:
    word = Script(Turn("one two three", after=0.0), lead_in=0.5).audio()
    clock = listen(PCM16, word)
    clock.interrupt()
    for at in range(0, len(word), 640):
        clock.hear(word[at : at + 640], 60.0 + PCM16.seconds(at + 640))
    first, second = clock.stretches(0, 2 * len(word))
    assert not first.open
    assert PCM16.seconds(second.start) == pytest.approx(PCM16.seconds(len(word)) + 0.5, abs=0.03)


def test_speech_is_only_seen_in_the_part_that_is_asked_for() -> None:
    clock = listen(PCM16, SCRIPT.audio())
    (first, *_), last = SCRIPT.spans, SCRIPT.spans[-1]
    assert clock.stretches(0, PCM16.size(first[0] - 0.1)) == []
    assert clock.seconds(*map(PCM16.size, (first[0] - 0.2, first[1] + 0.2))) == pytest.approx(
        first[1] - first[0], abs=0.05
    )
    before = clock.last(PCM16.size(last[0] - 0.5))
    assert before is not None
    assert PCM16.seconds(before.end) < last[0] - 0.5


def test_an_hour_takes_no_more_memory_than_some_minutes() -> None:
    clock = SpeechClock(PCM16)
    word = Script(Turn("word", after=0.3), lead_in=0.0).audio()
    for number in range(3600):
        clock.hear(word, number * 1.0)
    assert len(clock.stretches(0, 10**12)) <= 256
