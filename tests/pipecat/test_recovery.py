"""Turns without words: the application's options of recovery hold, as with the built-in class."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    LLMRunFrame,
    TTSSpeakFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams

from tests.pipecat.conversation import Conversation, ScriptedLLM, Voice
from tests.pipecat.sides import (
    MakeSTT,
    Outcome,
    builtin,
    has_spoken,
    is_silent,
    ours,
    played,
    talk_to,
)
from tests.pipecat.test_pipelines import ToolLLM
from tests.pipecat.wire import CUE, START, Pause, Play, end, update

pytestmark = pytest.mark.needs("pipecat-ai>=1.14")
SIDES = pytest.mark.parametrize("make", [ours, builtin], ids=["ours", "built-in"])
QUESTION: Play = [START, update("How are you?"), end("How are you?")]
# The framework's own strategies end a turn without words after this time, in seconds.
LIMIT = 0.3
NOISE: Play = [START, Pause(0.02), end(""), Pause(2 * LIMIT)]


def recovery(**options: Any) -> Any:
    """The application's options of recovery; older versions of Pipecat have none."""
    from pipecat.turns.empty_user_turn import EmptyUserTurnConfig

    return EmptyUserTurnConfig(**options)


def params(config: Any) -> LLMUserAggregatorParams:
    return LLMUserAggregatorParams(user_turn_stop_timeout=LIMIT, empty_user_turn=config)


def has_run_times(times: int) -> Any:
    return lambda talk: len(talk.voice.spoken) >= times


async def after_noises(make: MakeSTT, config: Any, noises: int, recoveries: int = 0) -> Outcome:
    """Let noise cut the bot off, again and again.

    Args:
        make: Makes the service.
        config: Of the application.
        noises: How many times.
        recoveries: How many times the bot is expected to begin again.
    """
    play: Play = [*QUESTION, *[item for _ in range(noises) for item in (CUE, *NOISE)]]
    cues = [has_run_times(1 + min(n, recoveries)) for n in range(noises)]
    return await played(play, make, params=params(config), speaking_time=30.0, cues=cues)


@SIDES
async def test_no_recovery_means_none(make: MakeSTT) -> None:
    talk = await after_noises(make, None, noises=1)
    assert talk.runs == ["How are you?"]
    assert talk.other_messages == []
    assert len(talk.tap.up(UserStoppedSpeakingFrame)) == 2


@SIDES
async def test_no_recovery_of_an_interruption_means_none(make: MakeSTT) -> None:
    talk = await after_noises(
        make, recovery(interrupted_prompt=None, idle_prompt="Hello?"), noises=1
    )
    assert talk.runs == ["How are you?"]


@SIDES
async def test_the_applications_prompt_is_used(make: MakeSTT) -> None:
    talk = await after_noises(make, recovery(interrupted_prompt="Go on."), noises=1)
    assert talk.other_messages == ["Go on."]
    assert len(talk.runs) == 2


@SIDES
@pytest.mark.parametrize("limit", [0, 1, 2])
async def test_the_applications_limit_holds(make: MakeSTT, limit: int) -> None:
    config = recovery(interrupted_prompt="Go on.", max_consecutive_recoveries=limit)
    talk = await after_noises(make, config, noises=3, recoveries=limit)
    assert talk.other_messages == ["Go on."] * limit
    assert len(talk.runs) == 1 + limit


@SIDES
@pytest.mark.parametrize("limit", [0, 1, 2])
async def test_the_limit_holds_where_the_prompts_are_left_to_us(make: MakeSTT, limit: int) -> None:
    config = recovery(max_consecutive_recoveries=limit)
    talk = await after_noises(make, config, noises=3, recoveries=limit)
    assert len(talk.runs) == 1 + limit


@SIDES
@pytest.mark.parametrize("prompt", [None, "Are you there?"])
async def test_a_bot_that_waits_asks_only_if_it_is_told_to(make: MakeSTT, prompt: Any) -> None:
    play: Play = [*QUESTION, CUE, *NOISE]
    talk = await played(play, make, params=params(recovery(idle_prompt=prompt)), cues=[is_silent])
    assert talk.other_messages == ([prompt] if prompt else [])
    assert len(talk.runs) == (2 if prompt else 1)


async def test_by_default_the_bot_takes_up_what_it_was_saying() -> None:
    talk = await after_noises(ours, recovery(), noises=1)
    assert talk.runs == ["How are you?"] * 2
    assert talk.other_messages == []
    theirs = await after_noises(builtin, recovery(), noises=1)
    assert len(theirs.runs) == 2
    from pipecat.turns import empty_user_turn

    assert theirs.other_messages == [empty_user_turn.DEFAULT_EMPTY_USER_TURN_INTERRUPTED_PROMPT]


async def test_the_options_of_the_application_are_left_as_they_are() -> None:
    config = recovery()
    given = params(config)
    await played([*QUESTION, CUE, *NOISE], params=given, speaking_time=30.0, cues=[has_spoken])
    assert given.empty_user_turn is config


@SIDES
@pytest.mark.parametrize("options", [{}, {"interrupted_prompt": "Go on."}])
async def test_a_tool_that_runs_on_brings_the_only_answer(make: MakeSTT, options: Any) -> None:
    config = recovery(**options)
    llm, running, result = ToolLLM(), asyncio.Event(), asyncio.Event()

    async def look_up(call: Any) -> None:
        running.set()
        await result.wait()
        await call.result_callback("found")

    llm.register_function("look_up", look_up, cancel_on_interruption=False)
    play: Play = [*QUESTION, CUE, *NOISE]
    async with talk_to(play, make, llm=llm, params=params(config)) as (talk, server):
        await talk.hear()
        await running.wait()
        server.go_on()
        await server.played.wait()
        await talk.until(lambda: len(talk.tap.up(UserStoppedSpeakingFrame)) == 2)
        await talk.quiet()
        result.set()
        await talk.until(lambda: bool(talk.voice.spoken))
        await talk.quiet()
        assert len(talk.voice.spoken) == 1


@SIDES
async def test_an_empty_context_is_not_answered_as_it_is(make: MakeSTT) -> None:
    """The bot has greeted in words of no LLM, and noise cuts it off."""
    async with talk_to(NOISE, make, params=params(recovery()), voice=Greeting()) as (talk, server):
        await greet(talk)
        await talk.hear()
        await server.played.wait()
        await talk.quiet()
        assert all(talk.llm.contexts), "a run on nothing"
        assert len(talk.llm.contexts) == 1


@SIDES
async def test_a_reply_that_is_still_being_thought_of_is_taken_up(make: MakeSTT) -> None:
    llm = ScriptedLLM(token_delay=5.0)
    async with talk_to(NOISE, make, params=params(recovery()), llm=llm) as (talk, server):
        talk.context.add_message({"role": "user", "content": "Greet me."})
        await talk.task.queue_frame(LLMRunFrame())
        await talk.until(lambda: talk.llm.busy)
        llm.token_delay = 0.0
        await talk.hear()
        await server.played.wait()
        await talk.until(lambda: talk.voice.spoken == ["re: Greet me.."])
        assert talk.llm.runs == ["Greet me."] * 2


class Greeting(Voice):
    """Says what it is told to, and keeps it out of the context."""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        if isinstance(frame, TTSSpeakFrame):
            await self._speak()
            return
        await super().process_frame(frame, direction)


async def greet(talk: Conversation) -> None:
    talk.voice.speaking_time = 30.0
    await talk.task.queue_frame(TTSSpeakFrame("Hello!"))
    await talk.until(lambda: bool(talk.tap.up(BotStartedSpeakingFrame)))
