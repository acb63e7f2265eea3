"""A recorded call, played through an AgentSession."""

from __future__ import annotations

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
    call = await ink_caller.play(session, Agent(instructions="Answer."))
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
    call = await ink_caller.play(session, Agent(instructions="Answer."))
    with pytest.raises(AssertionError, match=r"before turn.end:\n  turn 1 'Hello there.'"):
        assert_no_reply_before_turn_end(call)
