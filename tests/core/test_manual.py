"""A manual session loses no word, whatever becomes of its connections, and never waits for ever."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.errors import ClosedError, UsageError
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    Disconnected,
    ErrorMessage,
    Final,
    FlushDone,
    Interim,
)
from cartesia_ink_plugins.core.options import ManualOptions, Resilience
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.hand import taken
from tests.core.manual_world import ManualWorld

SCRIPT = Script(
    "Hello there.", "I'd like a table for two people.", Turn("Tomorrow evening.", after=2.5)
)
WORDS = "".join(SCRIPT.transcripts)


def whole(texts: list[str]) -> None:
    """No interim ends with a broken word."""
    words = {word for turn in SCRIPT.transcripts for word in turn.split()}
    for text in texts:
        assert set(text.split()) <= words, text


class TestWithoutTrouble:
    def test_every_finalize_gives_one_final_with_the_words_before_it(self) -> None:
        world = ManualWorld(SCRIPT)
        world.run()
        assert world.finals == SCRIPT.transcripts
        assert [text for _, text in world.commands] == ["finalize"] * 3 + ["close"]
        assert all(e.is_complete for e in world.events if isinstance(e, Final))

    def test_interims_grow_and_never_have_a_broken_word(self) -> None:
        world = ManualWorld(SCRIPT)
        world.run()
        whole(world.interims)
        assert len(world.interims) > 5
        segments: list[list[str]] = [[]]
        for event in world.events:
            match event:
                case Interim(text=text):
                    segments[-1].append(text)
                case Final(text=text):
                    assert all(a < b and b.startswith(a) for a, b in pairwise(segments[-1]))
                    assert all(text.startswith(interim) for interim in segments[-1])
                    segments.append([])

    def test_without_finalize_the_words_come_at_the_end(self) -> None:
        world = ManualWorld(SCRIPT)
        world.run(finalize=False)
        assert world.finals == [WORDS]
        assert world.interims[-1] == "Hello there. I'd like a table for two people. Tomorrow"

    def test_a_final_has_the_times_of_its_speech(self) -> None:
        world = ManualWorld(SCRIPT)
        world.run()
        finals = [event for event in world.events if isinstance(event, Final)]
        for number, (final, (begin, end)) in enumerate(
            zip(finals, SCRIPT.spans, strict=True), start=1
        ):
            assert final.timing is not None
            assert final.timing.turn == number
            assert final.timing.speech_start == pytest.approx(1000 + begin, abs=0.06)
            assert final.timing.speech_end == pytest.approx(1000 + end, abs=0.06)
            assert final.timing.position == pytest.approx(end + 0.31, abs=0.05)

    def test_whisper_gives_words_with_times_in_the_stream(self) -> None:
        world = ManualWorld(SCRIPT, ManualOptions(model="ink-whisper", language="en"))
        world.run()
        finals = [event for event in world.events if isinstance(event, Final)]
        assert [f.text for f in finals] == SCRIPT.transcripts
        assert [f.language for f in finals] == ["en"] * 3
        for final, (begin, end) in zip(finals, SCRIPT.spans, strict=True):
            assert final.words[0].start == pytest.approx(begin, abs=0.05)
            assert final.words[-1].end == pytest.approx(end, abs=0.05)
            assert "".join(word.word for word in final.words) == final.text


class TestFinalize:
    def test_before_any_audio_it_is_empty_at_once(self) -> None:
        world = ManualWorld(SCRIPT)
        world.session.start(0.0)
        assert world.session.finalize(0.0) == 1
        [event] = taken(world.session.events)
        assert isinstance(event, Final)
        assert (event.text, event.is_complete) == ("", True)

    def test_a_second_one_with_no_audio_between_is_the_same(self) -> None:
        world = ManualWorld(SCRIPT)
        numbers: list[int] = []
        world.at(
            SCRIPT.spans[0][1] + 0.3, lambda: numbers.append(world.session.finalize(world.now))
        )
        world.at(
            SCRIPT.spans[0][1] + 0.3, lambda: numbers.append(world.session.finalize(world.now))
        )
        world.run(finalize=False)
        assert numbers == [1, 1]
        assert world.finals[0] == SCRIPT.transcripts[0]
        assert [text for _, text in world.commands] == ["finalize", "close"]

    def test_two_at_once_share_the_words_by_their_place_in_the_audio(self) -> None:
        world = ManualWorld(SCRIPT, latency=0.5)
        world.at(SCRIPT.spans[0][1] + 0.1, world.finalize)
        world.at(SCRIPT.spans[0][1] + 0.3, world.finalize)
        world.run(finalize=False)
        assert world.finals == [SCRIPT.transcripts[0], "", "".join(SCRIPT.transcripts[1:])]

    def test_audio_after_it_is_sent_after_it(self) -> None:
        """Said while there is no connection, it still stands between the right words."""
        world = ManualWorld(SCRIPT, away=(0.0, 3.0))
        world.run()
        assert world.finals == SCRIPT.transcripts

    def test_a_server_that_never_answers_is_waited_for_and_no_longer(self) -> None:
        world = ManualWorld(SCRIPT, answers=False, resilience=Resilience(drain_timeout=1.0))
        world.run(finish=False, limit=14.0)
        finals = [(at, e) for at, e in world.history if isinstance(e, Final)]
        assert [e.is_complete for _, e in finals] == [False] * 3
        for (at, final), (_, end) in zip(finals, SCRIPT.spans, strict=True):
            assert at <= end + 0.4 + 4.0
            assert final.timing is not None
        whole([final.text for _, final in finals])

    def test_what_comes_late_stands_at_the_beginning_of_the_next_final(self) -> None:
        world = ManualWorld(SCRIPT, resilience=Resilience(drain_timeout=0.5))
        world.answers = False
        world.at(SCRIPT.spans[0][1] + 1.0, lambda: setattr(world, "answers", True))
        world.run()
        assert "".join(world.finals) == WORDS
        assert [e.is_complete for e in world.events if isinstance(e, Final)] == [False, True, True]

    def test_a_late_answer_to_one_is_no_answer_to_the_next(self) -> None:
        world = ManualWorld(
            SCRIPT, latency=0.7, timeout=1.0, resilience=Resilience(drain_timeout=20)
        )
        world.run()
        assert "".join(world.finals) == WORDS

    @pytest.mark.parametrize("timeout", [0, -1.0])
    def test_a_timeout_must_be_positive(self, timeout: float) -> None:
        with pytest.raises(UsageError, match="timeout"):
            ManualWorld(SCRIPT).session.finalize(0.0, timeout)

    def test_after_the_end_it_is_an_error(self) -> None:
        world = ManualWorld(SCRIPT)
        world.run()
        with pytest.raises(ClosedError, match="finalize"):
            world.session.finalize(world.now)

    def test_flush_done_that_nobody_asked_for_is_counted(self) -> None:
        world = ManualWorld(SCRIPT)
        world.at(1.0, lambda: world.session.message_received(encode(FlushDone()), world.now))
        world.run()
        assert world.finals == SCRIPT.transcripts
        assert world.session.violations == {"flush_done without finalize": 1}


class TestLostConnections:
    @settings(max_examples=60, deadline=None)
    @given(cuts=st.lists(st.floats(0.2, 7.5), min_size=1, max_size=4))
    def test_no_word_is_lost_or_doubled(self, cuts: list[float]) -> None:
        world = ManualWorld(SCRIPT)
        for cut in cuts:
            world.at(cut, world.cut)
        world.run()
        assert "".join(world.finals) == WORDS
        assert world.finals == SCRIPT.transcripts
        whole(world.interims)
        assert not any(isinstance(event, AudioGap) for event in world.events)

    @pytest.mark.parametrize("model", ["ink-2", "ink-whisper"])
    @pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.07, 0.1])
    def test_a_pending_finalize_is_sent_again(self, after: float, model: str) -> None:
        world = ManualWorld(SCRIPT, ManualOptions(model=model))
        world.at(SCRIPT.spans[1][1] + 0.31 + after, world.cut)
        world.run()
        assert world.finals == SCRIPT.transcripts
        finals = [event for event in world.events if isinstance(event, Final)]
        if model == "ink-whisper":
            said = ["".join(word.word for word in final.words).strip() for final in finals]
            assert said == [text.strip() for text in SCRIPT.transcripts]

    def test_an_outage_delays_a_final_and_loses_nothing(self) -> None:
        world = ManualWorld(SCRIPT, away=(3.0, 6.0))
        world.at(3.0, world.cut)
        world.run()
        assert world.finals == SCRIPT.transcripts

    def test_interims_do_not_shrink_in_a_replay(self) -> None:
        world = ManualWorld(SCRIPT)
        world.at(3.2, world.cut)
        world.run()
        segments: list[list[str]] = [[]]
        for event in world.events:
            match event:
                case Interim(text=text):
                    segments[-1].append(text)
                case Final():
                    segments.append([])
        assert all(len(a) < len(b) for segment in segments for a, b in pairwise(segment))

    def test_silence_is_not_replayed(self) -> None:
        """An open microphone in a quiet room: only the last seconds go to the next connection."""
        script = Script("Hello.", lead_in=40.0)
        world = ManualWorld(script)
        world.at(39.0, world.cut)
        world.run()
        assert world.finals == ["Hello."]
        replayed = world.session.sender.counts.replayed
        assert world.options.format.seconds(replayed) < 4.0

    def test_words_that_silence_settled_are_not_replayed(self) -> None:
        script = Script(Turn("Hello there.", after=6.0), Turn("Good bye.", after=3.0))
        world = ManualWorld(script)
        world.at(8.0, world.cut)
        world.run(finalize=False)
        assert world.finals == ["Hello there. Good bye."]
        replayed = world.session.sender.counts.replayed
        assert world.options.format.seconds(replayed) < 5.0

    def test_a_stream_longer_than_the_replay_buffer_goes_on_from_the_known_text(self) -> None:
        script = Script(Turn(" ".join(f"word{n}" for n in range(40)), after=2.0))
        world = ManualWorld(script, resilience=Resilience(replay_buffer_seconds=3.0))
        world.at(8.0, world.cut)
        world.run()
        assert "".join(world.finals) == script.transcripts[0]

    def test_so_it_does_after_a_second_loss_in_the_replay(self) -> None:
        script = Script(Turn(" ".join(f"word{n}" for n in range(40)), after=2.0))
        world = ManualWorld(script, resilience=Resilience(replay_buffer_seconds=3.0))
        world.at(8.0, world.cut)
        world.at(8.1, world.cut)
        world.run()
        assert "".join(world.finals) == script.transcripts[0]

    def test_an_error_of_the_server_is_reported_and_survived(self) -> None:
        world = ManualWorld(SCRIPT)
        error = encode(ErrorMessage(500, "The server says so.", "Internal Server Error"))
        world.at(3.0, lambda: world.session.message_received(error, world.now))
        world.run()
        assert world.finals == SCRIPT.transcripts
        assert any(isinstance(event, ErrorMessage) for event in world.events)

    def test_an_idle_connection_is_replaced_when_there_is_audio(self) -> None:
        world = ManualWorld(Script("Hello."))
        world.session.start(0.0)
        world.run_until(179.0)
        world.cut(1001)
        world._settle()
        world.run_until(400.0)
        assert len(world.dials) == 1
        assert [type(event) for event in world.events] == [Connected, Disconnected]
        world.session.audio_received(bytes(640), world.now)
        world._settle()
        assert len(world.dials) == 2


class TestTheEnd:
    def test_words_that_were_not_finalized_come_with_the_end(self) -> None:
        world = ManualWorld(Script("Good bye."))
        world.run(finalize=False)
        [final] = [event for event in world.events if isinstance(event, Final)]
        assert (final.text, final.is_complete) == ("Good bye.", True)

    def test_a_rejection_is_permanent_and_gives_the_known_text(self) -> None:
        world = ManualWorld(SCRIPT)
        error = encode(ErrorMessage(402, "No credit.", code="quota_exceeded"))
        world.at(3.0, lambda: world.session.message_received(error, world.now))
        world.run(finish=False)
        refusal = world.session.rejection
        assert refusal is not None
        assert (refusal.status, refusal.code) == (402, "quota_exceeded")
        assert WORDS.startswith("".join(world.finals))
        assert len(world.dials) == 1

    def test_finish_does_not_wait_for_ever(self) -> None:
        world = ManualWorld(SCRIPT, away=(4.0, 1e9), patience=5.0)
        world.at(4.0, world.cut)
        world.run()
        assert world.session.is_closed
        assert world.now < 20.0
        assert WORDS.startswith("".join(world.finals))
        whole(world.finals)

    def test_abort_is_at_once(self) -> None:
        world = ManualWorld(SCRIPT)
        world.at(3.0, lambda: world.session.abort(world.now))
        world.run(finish=False)
        assert world.session.is_closed
        assert world.now == 3.0


class TestKeyterms:
    def test_they_change_in_a_pause_over_a_new_connection(self) -> None:
        world = ManualWorld(SCRIPT)
        world.at(2.5, lambda: world.session.update_keyterms(["table"], world.now))
        world.run()
        assert world.finals == SCRIPT.transcripts
        assert len(world.dials) == 2
        assert not any(isinstance(event, Disconnected) for event in world.events)

    def test_whisper_takes_none(self) -> None:
        world = ManualWorld(SCRIPT, ManualOptions(model="ink-whisper"))
        with pytest.raises(UsageError, match="keyterms"):
            world.session.update_keyterms(["table"], 0.0)
