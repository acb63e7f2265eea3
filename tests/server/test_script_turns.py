"""The script engine's turns: on the clock of the audio, whatever carries it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import Close, Outgoing, TurnThresholds
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.server.listening import PCM16, chart, finals, hear, timed

BOOKING = Script("I'd like ... a table.", "For two.", Turn(noise=0.4), "Thanks.")


def test_a_turn_with_a_pause_inside_it() -> None:
    assert chart(hear(Script("Book ... it now."))) == [
        "start",
        "update Book",
        "eager_end Book",
        "resume",
        "update Book it",
        "update Book it now.",
        "eager_end Book it now.",
        "end Book it now.",
    ]


def test_each_event_has_its_place_in_the_audio() -> None:
    script = Script("Book ... it", lead_in=0.2)
    (start, end), half = script.spans[0], 0.2 + 0.2
    events = timed(script)
    assert [line for _, line in events] == [
        "start",
        "update Book",
        "eager_end Book",
        "resume",
        "update Book it",
        "eager_end Book it",
        "end Book it",
    ]
    places = [start + 0.15, half, half + 0.3, half + 0.6, end, end + 0.3, end + 0.8]
    assert [place for place, _ in events] == pytest.approx(places, abs=0.031)


@given(st.integers(1, 20_000))
@settings(max_examples=30, deadline=None)
def test_chunks_of_any_size_give_the_same_messages(size: int) -> None:
    whole = hear(BOOKING, chunk=1000.0)
    out: list[Outgoing] = []
    ear = BOOKING.engine().open(PCM16, TurnThresholds(), out.extend)
    pcm = BOOKING.audio()
    for start in range(0, len(pcm), size):
        ear.receive_audio(pcm[start : start + size])
    ear.flush()
    assert out == whole


def test_a_long_pause_may_be_inside_a_turn() -> None:
    script = Script(Turn(["Tomorrow", 3.0, "at seven"]))
    assert chart(hear(script)) == [
        "start",
        "update Tomorrow",
        "eager_end Tomorrow",
        "resume",
        "update Tomorrow at",
        "update Tomorrow at seven",
        "eager_end Tomorrow at seven",
        "end Tomorrow at seven",
    ]


def test_the_timeout_ends_a_turn_that_is_held() -> None:
    script = Script(Turn(["Tomorrow", 3.0, "at seven"]))
    heard = hear(script, thresholds=TurnThresholds(timeout_ms=2000))
    assert finals(heard) == ["Tomorrow", " at seven"]


def test_a_turn_may_end_without_an_eager_end() -> None:
    assert chart(hear(Script(Turn("Yes.", eager=False)))) == ["start", "update Yes.", "end Yes."]


def test_several_eager_ends_and_resumes_in_one_turn() -> None:
    lines = chart(hear(Script("a ... b ... c ... d")))
    assert lines.count("resume") == 3
    assert sum(line.startswith("eager_end") for line in lines) == 4
    assert lines.count("start") == 1
    assert lines[-1] == "end a b c d"


def test_noise_is_a_turn_that_ends_empty() -> None:
    assert chart(hear(Script(Turn(noise=0.5)))) == ["start", "end "]


def test_a_click_is_no_turn() -> None:
    assert chart(hear(Script(Turn(noise=0.05)))) == []


def test_silence_is_nothing() -> None:
    assert hear(Script("Hello."), PCM16.silence(20)) == []


def test_a_higher_eager_threshold_fires_earlier_and_a_lower_end_threshold_later() -> None:
    def position(kind: str, thresholds: TurnThresholds) -> float:
        out: list[Outgoing] = []
        script = Script(Turn("Hello.", after=2.0))
        ear = script.engine().open(PCM16, thresholds, out.extend)
        pcm = script.audio()
        for start in range(0, len(pcm), 320):
            ear.receive_audio(pcm[start : start + 320])
            if chart(out)[-1:] and chart(out)[-1].startswith(kind):
                return PCM16.seconds(start)
        raise AssertionError(kind)

    usual = TurnThresholds()
    eager, late = TurnThresholds(eager_end=0.75), TurnThresholds(end=0.1)
    assert position("eager_end", eager) < position("eager_end", usual)
    assert position("end", late) > position("end", usual)
    assert position("start", TurnThresholds(start=0.5, eager_end=0.45)) < position("start", usual)


def test_thresholds_change_in_the_middle() -> None:
    script = Script("One.", Turn("Two.", after=3.0))
    out: list[Outgoing] = []
    ear = script.engine().open(PCM16, TurnThresholds(), out.extend)
    pcm = script.audio()
    half = PCM16.size(script.spans[1][0] - 0.1)
    ear.receive_audio(pcm[:half])
    ear.configure(TurnThresholds(end=0.05))
    ear.receive_audio(pcm[half : half + PCM16.size(0.1 + 0.2 + 1.1)])
    assert finals(out) == ["One."]
    ear.receive_audio(pcm[half + PCM16.size(0.1 + 0.2 + 1.1) :])
    assert finals(out) == ["One.", " Two."]


def test_a_replay_may_begin_anywhere_on_another_connection() -> None:
    script = Script("alpha beta gamma delta", "epsilon zeta")
    pcm = script.audio()
    beta_ends = PCM16.size(script.spans[0][0] + 0.2 + 0.08 + 0.2 + 0.04)
    assert finals(hear(script, pcm[:beta_ends])) == ["alpha beta"]
    assert finals(hear(script, pcm[beta_ends:])) == ["gamma delta", " epsilon zeta"]


def test_lost_audio_is_lost_words_and_repeated_audio_is_repeated_words() -> None:
    script = Script("alpha beta gamma")
    pcm = script.audio()
    beta = script.spans[0][0] + 0.28
    hole = slice(PCM16.size(beta + 0.05), PCM16.size(beta + 0.15))
    assert finals(hear(script, pcm[: hole.start] + pcm[hole.stop :])) == ["alpha gamma"]
    once = slice(PCM16.size(beta - 0.04), PCM16.size(beta + 0.24))
    assert finals(hear(script, pcm[: once.stop] + pcm[once.start :])) == ["alpha beta beta gamma"]


def test_words_of_another_script_are_noise() -> None:
    assert chart(hear(Script("one"), Script("a b c d").audio()))[-1] == "end one"
    assert finals(hear(Script("one"), Script("a b c d").audio())) == ["one"]


def test_words_can_be_held_back_as_the_service_holds_them() -> None:
    script = Script("one two three", timing=ScriptTiming(word_delay=0.25))
    assert chart(hear(script))[-1] == "end one two three"
    usual, delayed = timed(Script("one two three")), timed(script)
    assert delayed[1][1] == "update one"
    assert delayed[1][0] == pytest.approx(usual[1][0] + 0.25, abs=0.011)


def test_the_end_may_have_words_that_the_eager_end_had_not() -> None:
    timing = ScriptTiming(word_delay=0.5, eager_has_all=False)
    lines = chart(hear(Script("one two three four", timing=timing)))
    assert lines[-2:] == ["eager_end one two three", "end one two three four"]
    assert not any(line.startswith("update one two three four") for line in lines)


def test_an_update_may_come_between_eager_end_and_end() -> None:
    timing = ScriptTiming(word_delay=0.5, eager_has_all=False, update_after_eager=True)
    assert chart(hear(Script("one two three four", timing=timing)))[-3:] == [
        "eager_end one two three",
        "update one two three four",
        "end one two three four",
    ]


def test_closing_in_a_turn_ends_it_with_the_words_so_far() -> None:
    script = Script("alpha beta gamma")
    pcm = script.audio()[: PCM16.size(script.spans[0][0] + 0.5)]
    assert chart(hear(script, pcm))[-1] == "end alpha beta"


def test_after_abort_nothing_is_said() -> None:
    out: list[Outgoing] = []
    ear = Script("Hello.").engine().open(PCM16, TurnThresholds(), out.extend)
    ear.abort()
    ear.receive_audio(Script("Hello.").audio())
    ear.flush()
    assert out == []


def test_cues_stand_on_the_bytes_of_any_audio() -> None:
    script = Script(
        cues=[
            Cue(0, "hello"),
            Cue(1.0, TurnEnd("first"), TurnUpdate("second"), TurnStart()),
            Cue(0.5, "{malformed", b"\x00"),
            Cue("close", Close(1006)),
        ]
    )
    segments: list[list[str]] = []
    audio = AudioFormat(sample_rate=8_000)

    def emit(messages: object) -> None:
        assert isinstance(messages, tuple)
        segments.append(chart(list(messages)))

    ear = script.engine().open(audio, TurnThresholds(), emit)
    assert segments == [["raw Malformed"]]
    ear.receive_audio(b"\x12" * (audio.size(0.5) - 1))
    assert len(segments) == 1
    ear.receive_audio(b"\x12")
    assert segments[1:] == [["raw Malformed", "raw bytes"]]
    ear.receive_audio(b"\x12" * audio.size(0.5))
    assert segments[2:] == [["raw TurnEnd", "raw TurnUpdate", "raw TurnStart"]]
    ear.flush()
    assert segments[3:] == [["close 1006"]]


def test_cues_and_turns_together() -> None:
    script = Script("one two", cues=[Cue(0.55, "{oops")])
    lines = chart(hear(script))
    assert lines[:4] == ["start", "update one", "raw Malformed", "update one two"]


def test_a_cue_may_be_for_one_connection() -> None:
    engine = Script(cues=[Cue(0, "second", connection=1)]).engine()
    for expected in ([], ["raw Malformed"], []):
        out: list[Outgoing] = []
        engine.open(PCM16, TurnThresholds(), out.extend)
        assert chart(out) == expected


def test_delays_out_of_order_are_refused() -> None:
    with pytest.raises(UsageError, match="word_gap < eager_delay < end_delay"):
        ScriptTiming(eager_delay=0.9)
    with pytest.raises(UsageError, match="below 0"):
        ScriptTiming(word_delay=-0.1)
