"""Voice activity detection, frame by frame: each frame of these tests has a level of its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.stream.vad import FRAME, EnergyVAD

FORMAT = AudioFormat(Encoding.PCM_F32LE, 8000)
FRAME_SIZE = FORMAT.size(FRAME)

# In dBFS.
ROOM = -60.0
NOISE = -45.0
HUM = -38.0  # in the noise: above the threshold for going on, below that for the onset
VOICE = -30.0


class Microphone:
    """Hands in frames of given levels, and tells what was found, all in frames."""

    def __init__(self, *, is_asked: bool = False) -> None:
        """Hand in all at once, or ask a question after every frame."""
        self.vad = EnergyVAD(FORMAT)
        self.is_asked = is_asked
        self.position = 0

    def hears(self, *levels: float) -> Microphone:
        step = 1 if self.is_asked else len(levels)
        for at in range(0, len(levels), step):
            pcm = b"".join(map(sound, levels[at : at + step]))
            self.position += len(pcm)
            self.vad.audio_received(pcm, FORMAT.seconds(self.position))
            if self.is_asked:
                self.vad.last(self.position)
        return self

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where speech began and ended."""
        found = self.vad.stretches(0, self.position)
        assert all(not before.open for before, _ in pairwise(found))
        return [(speech.start // FRAME_SIZE, speech.end // FRAME_SIZE) for speech in found]

    @property
    def sounds(self) -> list[int]:
        """Where the sound began that ran into speech."""
        return [speech.sound // FRAME_SIZE for speech in self.vad.stretches(0, self.position)]


def sound(level: float) -> bytes:
    """A frame of exactly this level, without an offset."""
    samples = np.full(FRAME_SIZE // FORMAT.sample_width, 10 ** (level / 20), np.float32)
    samples[::2] *= -1
    return FORMAT.encode(samples)


def heard(*levels: float) -> list[tuple[int, int]]:
    """Where the speech begins and ends; the same whenever questions are asked."""
    spans = Microphone().hears(*levels).spans
    assert Microphone(is_asked=True).hears(*levels).spans == spans
    return spans


class TestOnset:
    def test_speech_is_where_the_level_is(self) -> None:
        assert heard(*[ROOM] * 50, *[VOICE] * 20, *[ROOM] * 30) == [(50, 70)]

    def test_three_loud_frames_are_speech_and_two_are_a_click(self) -> None:
        assert heard(*[ROOM] * 50, *[VOICE] * 2, *[ROOM] * 30) == []
        assert heard(*[ROOM] * 50, *[VOICE] * 3, *[ROOM] * 30) == [(50, 53)]

    def test_so_are_two_clicks_one_right_after_the_other(self) -> None:
        assert heard(*[ROOM] * 50, *[VOICE] * 2, ROOM, *[VOICE] * 2, *[ROOM] * 30) == []

    def test_and_a_click_right_after_speech(self) -> None:
        levels = [*[ROOM] * 50, *[VOICE] * 20, *[ROOM] * 10, *[VOICE] * 2, *[ROOM] * 30]
        assert heard(*levels) == [(50, 70)]

    @pytest.mark.parametrize(("hum", "start"), [(5, 50), (15, 50 + 15 - 7)])
    def test_it_reaches_back_into_what_is_above_the_noise_by_ten_frames(
        self, hum: int, start: int
    ) -> None:
        levels = [*[NOISE] * 50, *[HUM] * hum, *[-20.0] * 20, *[NOISE] * 30]
        assert heard(*levels) == [(start, 50 + hum + 20)]

    @pytest.mark.parametrize(("gap", "begin"), [(9, 50), (10, 50 + 15 + 10)])
    def test_the_sound_before_it_began_behind_the_last_silence(self, gap: int, begin: int) -> None:
        microphone = Microphone().hears(*[NOISE] * 50, *[HUM] * 15, *[NOISE] * gap, *[HUM] * 15)
        microphone.hears(*[-20.0] * 20)
        assert microphone.sounds == [begin]

    def test_or_three_seconds_before_at_the_earliest(self) -> None:
        microphone = Microphone().hears(*[NOISE] * 50, *[HUM] * 160, *[-20.0] * 20)
        assert microphone.sounds == [50 + 160 + 3 - 150]

    def test_and_not_before_the_end_of_other_speech(self) -> None:
        """The hum is too soft beside the voice, until that is forgotten."""
        microphone = Microphone().hears(*[NOISE] * 50, *[-10.0] * 20, *[-31.3] * 30)
        assert microphone.spans[0] == (50, 70)
        assert microphone.sounds == [50, 70]


class TestEnd:
    def test_nine_quiet_frames_are_within_speech_and_ten_end_it(self) -> None:
        before, after = [*[ROOM] * 50, *[VOICE] * 20], [*[VOICE] * 5, *[ROOM] * 30]
        assert heard(*before, *[ROOM] * 9, *after) == [(50, 84)]
        assert heard(*before, *[ROOM] * 10, *after) == [(50, 70), (80, 85)]

    def test_a_loud_frame_between_them_begins_the_count_anew(self) -> None:
        words = [*[VOICE] * 3, *[ROOM] * 9, VOICE, *[ROOM] * 9, *[VOICE] * 3]
        assert heard(*[ROOM] * 50, *words, *[ROOM] * 30) == [(50, 75)]

    def test_the_count_begins_anew_with_other_speech(self) -> None:
        words = [*[VOICE] * 3, *[ROOM] * 30, *[VOICE] * 3, *[ROOM] * 30, *[VOICE] * 3]
        assert heard(*[ROOM] * 50, *words) == [(50, 53), (83, 86), (116, 119)]

    def test_noise_does_not_go_on_with_it(self) -> None:
        assert heard(*[NOISE] * 50, *[VOICE] * 20, *[NOISE] * 30) == [(50, 70)]

    def test_nor_does_what_is_too_soft_for_any_voice(self) -> None:
        assert heard(*[-70.0] * 50, *[-40.0] * 20, *[-57.0] * 30) == [(50, 70)]


class TestLoudness:
    def test_what_is_far_below_the_voice_that_follows_is_no_speech_but_sound(self) -> None:
        microphone = Microphone().hears(*[ROOM] * 60, *[-45.0] * 10, *[-15.0] * 10)
        assert microphone.spans == [(70, 80)]
        assert microphone.sounds == [60]

    @pytest.mark.parametrize(("soft", "start"), [(190, 60 + 190), (210, 60)])
    def test_as_far_back_as_levels_are_remembered(self, soft: int, start: int) -> None:
        assert heard(*[ROOM] * 60, *[-45.0] * soft, *[-15.0] * 3)[0][0] == start

    def test_a_click_does_not_make_a_voice_soft(self) -> None:
        voice = [*[-40.0] * 20, -5.0, -40.0, -5.0, -5.0, *[-40.0] * 20]
        assert heard(*[ROOM] * 50, *voice, *[ROOM] * 30) == [(50, 94)]

    def test_a_loud_voice_is_forgotten_at_six_decibels_per_second(self) -> None:
        (first, second) = heard(*[ROOM] * 50, *[-10.0] * 20, *[-34.0] * 80)
        assert first == (50, 70)
        assert second[0] == pytest.approx(70 + 4.0 / 0.12 - 7, abs=3)


class TestFloor:
    def test_noise_that_sets_in_is_the_floor_after_four_to_five_seconds(self) -> None:
        """When the last of eight blocks of half a second ends without anything quieter."""
        assert heard(*[ROOM] * 50, *[VOICE] * 300) == [(50, 274)]

    def test_one_quiet_frame_is_not_the_floor(self) -> None:
        assert heard(*[-48.0] * 10, ROOM, *[-48.0] * 40) == []

    def test_a_quiet_first_frame_is(self) -> None:
        assert heard(ROOM, *[NOISE] * 20) == [(1, 21)]


class TestFirstFrames:
    """What half a second begins with is noise if its quietest frames are steady."""

    def test_six_steady_frames_are_noise(self) -> None:
        microphone = Microphone().hears(*[VOICE] * 6, *[-15.0] * 19)
        assert (microphone.spans, microphone.sounds) == ([(6, 25)], [6])

    @pytest.mark.parametrize("before", [0, 10])
    def test_five_are_a_voice(self, before: int) -> None:
        microphone = Microphone().hears(*[-15.0] * before, *[VOICE] * 5, *[-15.0] * (20 - before))
        assert microphone.sounds == [0]

    def test_five_of_them_in_two_places_are_a_voice_too(self) -> None:
        assert heard(*[-15.0] * 14, *[VOICE] * 5, -15.0, *[VOICE] * 5)[0][1] >= 24

    def test_their_quietest_is_the_floor_wherever_it_is(self) -> None:
        assert heard(*[-18.0] * 19, *[VOICE] * 26) == [(0, 19)]

    def test_a_click_in_noise_is_no_speech(self) -> None:
        assert heard(*[-15.0] * 2, *[VOICE] * 40) == []

    def test_what_is_said_before_a_shout_is_not_lost(self) -> None:
        levels = [*[NOISE] * 7, *[-33.0] * 3, *[NOISE] * 10, *[-5.0] * 5]
        assert heard(*levels, *[NOISE] * 20) == [(7, 10), (20, 25)]

    def test_speech_in_front_of_a_pause_is_kept(self) -> None:
        """Less than half a second follows, which tells too little."""
        microphone = Microphone().hears(*[VOICE] * 8)
        microphone.vad.audio_stopped()
        assert microphone.hears(*[VOICE] * 40).spans[0] == (0, 8)


class TestWhenAudioStops:
    def test_a_click_on_both_sides_is_no_speech(self) -> None:
        microphone = Microphone().hears(*[ROOM] * 50, *[VOICE] * 2)
        microphone.vad.audio_stopped()
        assert microphone.hears(*[VOICE] * 2, *[ROOM] * 30).spans == []

    def test_nor_do_they_make_a_voice_soft(self) -> None:
        microphone = Microphone().hears(*[ROOM] * 50, *[-5.0] * 2)
        microphone.vad.audio_stopped()
        microphone.hears(-5.0, *[ROOM] * 10, *[-40.0] * 20)
        assert microphone.spans == [(63, 83)]
