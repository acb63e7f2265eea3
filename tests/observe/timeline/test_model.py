"""What a timeline makes of recorded moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.happenings import happenings
from cartesia_ink_plugins.observe.timeline.model import (
    CallTimeline,
    Instant,
    Reply,
    Stretch,
    build_timeline,
)
from tests.observe.timeline.planted import Planted, eventful_call


def timeline_of(call: Planted, folder: Path) -> CallTimeline:
    return build_timeline(read_recording(call.write(folder / "call.ink")))


@pytest.fixture
def eventful(tmp_path: Path) -> CallTimeline:
    return timeline_of(eventful_call(), tmp_path)


def test_a_turn_has_its_times_and_text(eventful: CallTimeline) -> None:
    turn = eventful.turns[0]
    assert (turn.number, turn.text) == (1, "Hello <there>")
    assert (turn.start, turn.end, turn.speech_start, turn.speech_end) == (3.0, 6.4, 2.8, 5.6)
    assert turn.eager_ends == [Instant(4.5, "Hello"), Instant(6.0, "Hello <there>")]
    assert turn.resumes == [4.8]


def test_the_reply_to_a_turn_is_the_last_one(eventful: CallTimeline) -> None:
    turn = eventful.turns[0]
    assert (turn.llm_started, turn.llm_output, turn.tts_output) == (6.0, 6.3, 6.5)
    assert turn.bot_started == 6.6


def test_replies_are_kept_or_withdrawn_with_their_tokens(eventful: CallTimeline) -> None:
    assert eventful.turns[0].replies == [
        Reply(4.55, 4.8, "withdrawn", 120, 5),
        Reply(6.0, 6.4, "kept", 125, None),
    ]
    assert [reply.tokens for reply in eventful.turns[0].replies] == [
        "120 tokens read, 5 tokens written",
        "125 tokens read",
    ]


def test_a_reply_whose_begin_is_not_recorded_has_its_lead(tmp_path: Path) -> None:
    call = Planted()
    call.turn = 1
    call.line(5.0, "speculation_ended", outcome="kept", lead=0.4)
    assert timeline_of(call, tmp_path).turns[0].replies == [Reply(4.6, 5.0, "kept")]


def test_replies_are_decided_in_their_order(tmp_path: Path) -> None:
    call = Planted()
    call.turn = 1
    for t in (1.0, 2.0):
        call.line(t, "speculation_began")
    call.line(3.0, "speculation_ended", outcome="withdrawn")
    assert timeline_of(call, tmp_path).turns[0].replies == [
        Reply(1.0, 3.0, "withdrawn"),
        Reply(2.0),
    ]


def test_a_turn_that_does_not_end_stays_open(eventful: CallTimeline) -> None:
    assert [turn.end is None for turn in eventful.turns] == [False] * 4 + [True]
    assert eventful.turns[-1].text == " and"


def test_the_bot_speaks_and_is_interrupted(eventful: CallTimeline) -> None:
    assert [(one.start, one.end) for one in eventful.bot] == [
        (0.5, 2.0), (6.6, 8.1), (11.9, 14.0), (20.3, 22.3),
    ]  # fmt: skip
    assert eventful.interruptions == [Instant(8.0, "the caller interrupted the bot")]


def test_an_interruption_of_silence_is_told_as_one(tmp_path: Path) -> None:
    call = Planted()
    call.line(1.0, "interruption")
    [found] = timeline_of(call, tmp_path).interruptions
    assert found.text == "the caller interrupted; the bot was not speaking"


def test_a_bot_that_speaks_at_the_end_speaks_to_the_end(tmp_path: Path) -> None:
    call = Planted()
    call.line(1.0, "bot_started")
    call.line(9.0, "finished")
    assert timeline_of(call, tmp_path).bot == [Stretch(1.0, 9.0, "the bot speaks")]


def test_connections_are_lost_and_opened(eventful: CallTimeline) -> None:
    assert eventful.connections == [
        Stretch(0.05, 9.0, "connection 1, request id request-1, lost: closed with 1006"),
        Stretch(9.3, 30.0, "connection 2, request id request-2, closed"),
    ]
    assert eventful.losses == [
        Instant(9.0, "connection 1 lost: closed with 1006; the next attempt follows at once"),
        Instant(16.0, "an attempt to connect failed: refused with 503; next attempt in 0.25 s"),
    ]


def test_audio_that_was_sent_again_lies_where_it_was_spoken(tmp_path: Path) -> None:
    call = eventful_call()
    # The application paused for 2 s before second 7 of the stream.
    call.line(9.0, "audio", position=7.0, at=9.0)
    timeline = timeline_of(call, tmp_path)
    assert timeline.replayed == [Stretch(9.6, 11.2, "1.6 s of audio sent again")]
    assert timeline.catching_up == [Stretch(9.3, 10.1, "catching up: 1.6 s of audio sent again")]


def test_silence_gaps_and_errors(eventful: CallTimeline) -> None:
    assert [(one.start, round(one.end, 3)) for one in eventful.silences] == [(16.3, 16.7)]
    assert eventful.gaps == [Stretch(15.5, 16.7, "1.2 s of audio given up")]
    assert eventful.errors == [Instant(17.5, "the server reports: 500 overloaded")]


def test_what_the_recording_lacks_is_told(tmp_path: Path) -> None:
    call = Planted()
    call.line(2.0, "dropped", count=7)
    call.line(3.0, "ended", reason="largest size")
    assert timeline_of(call, tmp_path).errors == [
        Instant(2.0, "7 moments were not recorded: the disk was too slow"),
        Instant(3.0, "the recording ended: largest size"),
    ]


def test_thresholds_change_at_a_step(eventful: CallTimeline) -> None:
    assert eventful.thresholds == [
        (0.0, {"start": 0.8, "eager end": 0.6, "end": 0.3}),
        (15.0, {"start": 0.8, "eager end": 0.6, "end": 0.1}),
    ]


def test_the_manual_endpoint_has_turns_too(tmp_path: Path) -> None:
    call = Planted()
    call.turn = 1
    call.event(2.0, "interim", text="Hello", speech_start=1.0)
    call.event(3.0, "final", text="Hello there.", speech_start=1.0, speech_end=2.5)
    [turn] = timeline_of(call, tmp_path).turns
    assert (turn.start, turn.end, turn.text) == (1.0, 3.0, "Hello there.")


def test_two_clients_of_a_call_have_turns_of_their_own(tmp_path: Path) -> None:
    call = Planted()
    call.simple_turn(1.0, "one")
    call.lines += [{**line, "t": line["t"] + 10, "session": 2} for line in list(call.lines)]
    turns = timeline_of(call, tmp_path).turns
    assert [(turn.session, turn.number, turn.start) for turn in turns] == [
        (1, 1, 1.0),
        (2, 1, 11.0),
    ]


@pytest.mark.parametrize("text", ["hash", "none"])
def test_words_may_be_missing(tmp_path: Path, text: str) -> None:
    call = Planted()
    call.simple_turn(1.0, "")
    call.write(tmp_path / "call.ink", text=text)
    [turn] = build_timeline(read_recording(tmp_path / "call.ink")).turns
    assert turn.text == ""


def test_a_recording_without_a_moment_is_an_empty_call(tmp_path: Path) -> None:
    timeline = timeline_of(Planted(), tmp_path)
    assert (timeline.turns, timeline.seconds, happenings(timeline)) == ([], 0.0, [])


def test_what_is_no_number_is_no_time(tmp_path: Path) -> None:
    call = Planted()
    call.turn = 1
    call.event(1.0, "turn.start", speech_start="soon")
    call.event(2.0, "turn.end", transcript="x", speech_end=float("nan"))
    call.line(3.0, "gap", position=None, seconds=None)
    [turn] = timeline_of(call, tmp_path).turns
    assert (turn.speech_start, turn.speech_end) == (None, None)


def test_everything_happens_in_order(eventful: CallTimeline) -> None:
    found = happenings(eventful)
    assert [one.t for one in found] == sorted(one.t for one in found)
    assert "the reply to turn 1 was withdrawn (120 tokens read, 5 tokens written)" in [
        one.text for one in found
    ]
