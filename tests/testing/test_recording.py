"""A recorded call is played again: the same messages at the same audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cartesia_ink_plugins import Credentials, InkManualClient, ManualOptions, UsageError
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.observe.reader import RecordedCall, RecordedMoment, read_recording
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.testing import (
    InkServer,
    LocalInk,
    Recording,
    assert_answered,
    assert_heard,
    assert_interrupted_within,
    assert_latency,
    assert_no_reply_before_turn_end,
)
from cartesia_ink_plugins.testing.virtual_clock import VirtualClock
from tests.observe.playing import EPOCH
from tests.testing.replaying import CALLS, recorded, replayed

VERSION_1 = Path(__file__).parent / "recordings" / "version1.ink"
"""Recorded by 0.1.0: two turns, an eager end that is withdrawn, a lost connection."""


@pytest.mark.parametrize("number", range(CALLS))
def test_a_replay_is_the_call_and_every_replay_is_the_same(number: int, tmp_path: Path) -> None:
    recording, call = recorded(number, tmp_path)
    first, second = replayed(recording, seed=1), replayed(recording, seed=2)
    assert first == second
    turns = [event[1:] for event in first if event[1].startswith("Turn")]
    assert turns == [event[1:] for event in call if event[1].startswith("Turn")]
    assert recording.transcripts == [text for _, kind, text in call if kind == "TurnEnd"]
    lost = [kind for _, kind, _ in first].count("Disconnected")
    assert lost == [kind for _, kind, _ in call].count("Disconnected")


def test_a_recording_of_the_first_format_is_readable() -> None:
    call = read_recording(VERSION_1)
    assert (call.meta.format, call.meta.text, call.meta.is_complete) == (1, "full", True)
    assert Recording(VERSION_1).transcripts == ["Hello there.", " A table for two."]
    assert [m.fields["event"] for m in call.of("lost")] == ["disconnected"]
    audio = call.audio()
    assert audio is not None
    assert audio.caller.any()
    turns = [kind for _, kind, _ in replayed(Recording(VERSION_1)) if kind.startswith("Turn")]
    assert turns.count("TurnEnd") == 2
    assert "TurnResume" in turns


async def test_a_manual_call_is_played_again(tmp_path: Path) -> None:
    script = Script("Hello there.", "A table for two.")

    async def talk(url: str, audio: bytes, **options: Any) -> list[str]:
        half = len(audio) // 4 * 2
        async with InkManualClient(
            ManualOptions(base_url=url), Credentials(api_key="any"), **options
        ) as client:
            texts = []
            for part in (audio[:half], audio[half:]):
                for start in range(0, len(part), 3200):
                    client.send_audio(part[start : start + 3200])
                texts.append((await client.finalize()).text)
            return texts

    path = tmp_path / "call.ink"
    with VirtualClock(epoch=EPOCH):
        async with InkServer(script) as server:
            said = await talk(server.url, script.audio(), record=path)
        assert "".join(said).split() == "Hello there. A table for two.".split()
        recording = Recording(path)
        async with InkServer(recording.engine()) as server:
            assert await talk(server.url, script.audio()) == said


def test_what_is_said_has_any_format() -> None:
    recording = Recording(VERSION_1)
    seconds = len(recording.audio()) / 32_000
    for format in (AudioFormat(sample_rate=24_000), AudioFormat(sample_rate=8000)):
        assert format.seconds(len(recording.audio(format))) == pytest.approx(seconds, abs=0.01)


def test_a_call_without_sound_cannot_be_said(tmp_path: Path) -> None:
    from cartesia_ink_plugins.observe.options import RecordOptions
    from cartesia_ink_plugins.observe.recorder import Recorder
    from tests.observe.playing import play

    recorder = Recorder(RecordOptions(tmp_path / "call.ink", audio=False))
    play(Script("Hello."), taps=[recorder.tap()])
    recorder.close(30.0)
    with pytest.raises(UsageError, match="has no sound"):
        Recording(tmp_path / "call.ink").audio()


@pytest.mark.ink_server(Recording(VERSION_1), strict=False)
def test_the_marker_takes_a_recording(ink_server: LocalInk) -> None:
    assert isinstance(ink_server.recording, Recording)


def test_a_fresh_engine_plays_from_the_beginning() -> None:
    recording = Recording(VERSION_1)
    for _ in range(2):
        texts = [text for _, kind, text in replayed(recording) if kind == "TurnEnd"]
        assert_heard([text or "" for text in texts], recording.transcripts)


# --- assertions ---------------------------------------------------------------------------------


def a_call(*told: tuple[float, str] | tuple[float, str, str]) -> RecordedCall:
    """A call in which turns begin and end, and the bot does something."""
    moments, turn = [], 0
    for t, kind, *text in told:
        if kind == "turn.start":
            turn += 1
        fields = {"event": kind, "transcript": text[0]} if text else {"event": kind}
        is_event = kind.startswith("turn.")
        moments.append(
            RecordedMoment(t, "event" if is_event else kind, 1, 1, turn, fields if is_event else {})
        )
    return RecordedCall(Path("call.ink"), read_recording(VERSION_1).meta, tuple(moments))


GOOD = a_call(
    (1.0, "turn.start"),
    (2.0, "turn.end", "Hello."),
    (2.5, "bot_started"),
    (3.0, "turn.start"),
    (3.2, "bot_stopped"),
    (4.0, "turn.end", " Stop."),
    (4.6, "bot_started"),
    (5.0, "bot_stopped"),
)


def test_a_good_call_passes() -> None:
    assert_answered(GOOD)
    assert_no_reply_before_turn_end(GOOD)
    assert_interrupted_within(GOOD, 0.3)
    assert_latency(GOOD, 0.7)


def test_a_turn_without_a_reply_is_named() -> None:
    call = a_call((1.0, "turn.start"), (2.0, "turn.end", "Hello."), (0.5, "bot_started"))
    with pytest.raises(AssertionError, match=r"not answered:\n  turn 1 'Hello.', ended at 2.00 s"):
        assert_answered(call)


def test_a_reply_before_the_end_is_named() -> None:
    call = a_call((1.0, "turn.start"), (1.5, "bot_started"), (2.0, "turn.end", "Hello."))
    with pytest.raises(AssertionError, match=r"from 1.00 to 2.00 s: the bot began at 1.50 s"):
        assert_no_reply_before_turn_end(call)


def test_a_bot_that_goes_on_is_named() -> None:
    with pytest.raises(AssertionError, match=r"turn 2 at 3.00 s: the bot went on for 0.20 s"):
        assert_interrupted_within(GOOD, 0.1)
    call = a_call((1.0, "bot_started"), (2.0, "turn.start"), (3.0, "turn.end", "Hello."))
    with pytest.raises(AssertionError, match="the bot went on to the end"):
        assert_interrupted_within(call, 9.0)
    with pytest.raises(AssertionError, match="never began a turn while the bot spoke"):
        assert_interrupted_within(a_call((1.0, "turn.start")), 1.0)


def test_a_slow_reply_is_named() -> None:
    with pytest.raises(AssertionError, match=r"slower than 0.55 s:\n  turn 2 'Stop.': 0.60 s"):
        assert_latency(GOOD, 0.55)
