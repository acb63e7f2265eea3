"""A recorded call, played through an AgentSession."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from livekit.agents import Agent, AgentSession

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.testing import (
    Caller,
    LocalInk,
    Recording,
    assert_answered,
    assert_latency,
    assert_no_reply_before_turn_end,
)
from tests.livekit.harness import Llm, Tts
from tests.livekit.replayed import replayed
from tests.testing.replaying import MUTED_AND_LOST, recorded
from tests.testing.test_recording import VERSION_1

REPLAY = pytest.mark.ink_server(Recording(VERSION_1), strict=False)


@REPLAY
async def test_a_call_is_answered_as_it_should_be(ink_server: LocalInk, ink_caller: Caller) -> None:
    session: AgentSession[None] = AgentSession(
        stt=ink.STT(api_key="any", base_url=ink_server.url),
        llm=Llm(),
        tts=Tts(),
        vad=None,
        turn_handling={"turn_detection": "stt"},
    )
    call = await ink_caller.play(session, Agent(instructions="Answer."), clock="virtual")
    assert_answered(call)
    assert_no_reply_before_turn_end(call)
    assert_latency(call, 30.0)
    ends = [m.fields["transcript"] for m in call.of("event") if m.fields["event"] == "turn.end"]
    assert ends == Recording(VERSION_1).transcripts


@REPLAY
async def test_a_bot_that_answers_before_the_end_fails(
    ink_server: LocalInk, ink_caller: Caller
) -> None:
    session: AgentSession[None] = AgentSession(
        stt=ink.STT(api_key="any", base_url=ink_server.url),
        llm=Llm(),
        tts=Tts(),
        vad=None,
        turn_handling={"turn_detection": "stt"},
    )

    def hasty(_: object) -> None:
        session.say("I know!", allow_interruptions=False)

    session.once("user_input_transcribed", hasty)
    call = await ink_caller.play(session, Agent(instructions="Answer."), clock="virtual")
    with pytest.raises(AssertionError, match=r"before turn.end:\n  turn 1 'Hello there.'"):
        assert_no_reply_before_turn_end(call)


async def test_every_replay_has_the_same_events_at_the_same_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, _ = recorded(MUTED_AND_LOST, tmp_path)
    first = await replayed(recording, tmp_path / "first.ink")
    monkeypatch.setattr("cartesia_ink_plugins.observe.recorder._MOST", 50)  # as on a slow disk
    second = await replayed(recording, tmp_path / "second.ink")
    assert first.history == second.history
    assert any("user_input_transcribed" in line for line in first.history)
    ends = [
        m.fields["transcript"] for m in first.call.of("event") if m.fields["event"] == "turn.end"
    ]
    assert ends == recording.transcripts
    outcomes = Counter(m.fields["outcome"] for m in first.call.of("speculation_ended"))
    assert outcomes.total() == len(list(first.call.of("speculation_began")))
    assert outcomes.keys() >= {"kept", "withdrawn"}
    for kind in ("audio", "lost"):  # one line for each part between mutes
        assert len(list(first.call.of(kind))) == len(list(recording.call.of(kind))) > 1
