"""Several user aggregators, services that are switched, and a VAD beside the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.frames.frames import (
    InputAudioRawFrame,
    ManuallySwitchServiceFrame,
    UserMuteStartedFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyManual
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins.core.events import TurnEvent
from tests.pipecat.conversation import Conversation, ScriptedLLM, Tap, Voice, conversation
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.test_late_predictions import Held
from tests.pipecat.test_mute import Switch, unmute
from tests.pipecat.test_pipelines import Slow
from tests.pipecat.wire import (
    CUE,
    RESUME,
    START,
    Pause,
    Play,
    WireServer,
    eager,
    end,
    update,
    wire_server,
)


@asynccontextmanager
async def two_branches(
    play: Play, *, slow: float = 0.0, **arguments: Any
) -> AsyncIterator[tuple[list[Conversation], WireServer]]:
    """Two bots in one pipeline, which hear the same user.

    Args:
        play: What the server says.
        slow: Seconds that the second bot's memory takes before its LLM.
        arguments: Of the service.
    """
    async with wire_server(play) as server:
        stt = ours(server.url, **arguments)
        parts, branches = [], []
        for number in range(2):
            context = LLMContext()
            pair = LLMContextAggregatorPair(context)
            tap, llm, voice = Tap(), ScriptedLLM(), Voice()
            memory = [Slow(slow, *([_context_frame()] if number else []))] if slow else []
            branches.append([tap, pair.user(), *memory, llm, voice, pair.assistant()])
            parts.append((llm, voice, tap, context))
        pipeline = Pipeline([stt, ParallelPipeline(*branches)])  # type: ignore[no-untyped-call]
        task = PipelineWorker(
            pipeline,
            params=PipelineParams(audio_in_sample_rate=16_000),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
        )
        started = asyncio.Event()

        async def on_started(*_: object) -> None:
            started.set()

        task.add_event_handler("on_pipeline_started", on_started)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(task)
        running = asyncio.create_task(runner.run())
        try:
            async with asyncio.timeout(60):
                await started.wait()
                yield [Conversation(stt, *part, task) for part in parts], server
        finally:
            await task.cancel()
            await running


def _context_frame() -> Any:
    from pipecat.frames.frames import LLMContextFrame

    return LLMContextFrame


@pytest.mark.parametrize("eager_end", [True, False])
async def test_each_aggregator_answers_each_turn_once(eager_end: bool) -> None:
    play: Play = [
        *(START, update("one"), eager("one"), Pause(0.1), end("one"), Pause(0.1)),
        *(START, update("two"), end("two")),
    ]
    async with two_branches(play, enable_eager_end_of_turn=eager_end) as (talks, server):
        await talks[0].hear()
        await server.played.wait()
        for talk in talks:
            await talk.until(lambda talk=talk: len(talk.voice.spoken) >= 2)  # type: ignore[misc]
            await talk.quiet()
            assert talk.user_messages == ["one", "two"]
            assert talk.llm.runs == ["one", "two"]
            assert talk.voice.spoken == ["re: one.", "re: two."]


async def test_a_withdrawal_is_right_in_each_branch() -> None:
    """What is begun in one branch says nothing about the other, whose memory is slow."""
    burst: list[TurnEvent] = [update("a b"), end("a b")]
    play: Play = [START, update("a"), eager("a"), Pause(0.1), RESUME, *burst]
    async with two_branches(play, slow=0.3) as (talks, server):
        await talks[0].hear()
        await server.played.wait()
        for talk in talks:
            await talk.until(lambda talk=talk: "re: a b." in talk.voice.spoken)  # type: ignore[misc]
            await talk.quiet(0.4)
            assert talk.user_messages == ["a b"]
            assert talk.voice.spoken == ["re: a b."]


async def test_each_has_its_own_strategies() -> None:
    frame = ours("ws://127.0.0.1:9").service_metadata_frame()
    first, second = frame.user_turn_strategies, frame.user_turn_strategies
    assert first is not None
    assert second is not None
    assert first is not second
    assert {*(first.start or []), *(first.stop or [])}.isdisjoint(
        {*(second.start or []), *(second.stop or [])}
    )


async def test_a_mute_that_was_not_seen_is_not_believed_for_ever() -> None:
    mute = Switch()
    params = LLMUserAggregatorParams(user_mute_strategies=[mute])
    first: Play = [CUE, START, end("one"), CUE, START, update("two"), CUE, end("two")]
    async with wire_server(first) as here, wire_server([]) as there:
        ours_here, ours_there = ours(here.url), ours(there.url)
        switcher = ServiceSwitcher([ours_here, ours_there], ServiceSwitcherStrategyManual)
        voice = Voice(speaking_time=600.0)
        async with conversation(switcher, params=params, voice=voice) as talk:

            async def switch_to(service: Any) -> None:
                await talk.task.queue_frame(ManuallySwitchServiceFrame(service=service))
                await talk.until(lambda: switcher.strategy.active_service is service)
                await talk.quiet()

            mute.on = True
            await talk.hear()
            await talk.until(lambda: bool(talk.tap.up(UserMuteStartedFrame)))
            await switch_to(ours_there)
            await unmute(talk, mute)
            await switch_to(ours_here)
            here.go_on()
            await talk.until(lambda: talk.voice.spoken == ["re: one."])
            here.go_on()
            await talk.until(lambda: talk.voice.log[-1] == ("interrupted", ""))
            here.go_on()
            await talk.until(lambda: talk.voice.spoken == ["re: one.", "re: two."])
            assert talk.user_messages == ["one", "two"]


async def test_a_turn_of_the_service_that_was_switched_away_does_not_stay_open() -> None:
    first: Play = [START, update("one")]
    second: Play = [START, update("two"), end("two"), CUE, START, end("three")]
    async with wire_server(first) as here, wire_server(second) as there:
        ours_here, ours_there = ours(here.url), ours(there.url)
        switcher = ServiceSwitcher([ours_here, ours_there], ServiceSwitcherStrategyManual)
        async with conversation(switcher) as talk:
            await talk.hear()
            await talk.until(lambda: talk.tap.interims == ["one"])
            await talk.task.queue_frame(ManuallySwitchServiceFrame(service=ours_there))
            await talk.until(lambda: switcher.strategy.active_service is ours_there)
            await talk.quiet()
            await talk.hear()
            await talk.until(lambda: talk.voice.spoken == ["re: two."])
            there.go_on()
            await talk.until(lambda: talk.voice.spoken == ["re: two.", "re: three."])


@pytest.mark.parametrize("is_held", [False, True], ids=["begun", "on its way"])
async def test_a_prediction_of_the_service_that_was_switched_away_is_not_answered(
    is_held: bool,
) -> None:
    held = Held(in_order=False)
    first: Play = [START, update("one"), eager("one")]
    second: Play = [START, update("two"), CUE, end("two")]
    async with wire_server(first) as here, wire_server(second) as there:
        ours_here, ours_there = ours(here.url), ours(there.url)
        switcher = ServiceSwitcher([ours_here, ours_there], ServiceSwitcherStrategyManual)
        async with conversation(switcher, before_llm=[held]) as talk:
            await talk.hear()
            await held.holds.wait()
            if not is_held:
                await held.hand_on()
                await talk.until(lambda: talk.llm.runs == ["one"])
            await talk.task.queue_frame(ManuallySwitchServiceFrame(service=ours_there))
            await talk.until(lambda: switcher.strategy.active_service is ours_there)
            await talk.quiet()
            await talk.hear()
            await talk.until(lambda: "two" in talk.tap.interims)
            await held.hand_on()
            there.go_on()
            await talk.until(lambda: "re: two." in talk.voice.spoken)
            await talk.quiet()
            assert talk.voice.spoken == ["re: two."]


@pytest.mark.parametrize("eager_end", [True, False], ids=["predicted", "not predicted"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "is over"])
async def test_words_after_the_vad_has_closed_the_turn_are_answered(
    eager_end: bool, goes_on: bool
) -> None:
    """The framework closes a turn some time after the VAD; here, after 0.3 s instead of 5 s."""
    predicted: Play = [eager("Hi")] if eager_end else []
    rest: Play = [update("Hi there"), Pause(0.05)] if goes_on else []
    play: Play = [
        START,
        update("Hi"),
        *predicted,
        CUE,
        *rest,
        end("Hi there"),
        CUE,
        START,
        end("x"),
    ]
    params = LLMUserAggregatorParams(user_turn_stop_timeout=0.3)
    async with talk_to(play, params=params) as (talk, server):
        await talk.hear()
        await talk.task.queue_frame(VADUserStartedSpeakingFrame())
        await talk.until(lambda: talk.tap.interims == ["Hi"])
        await talk.task.queue_frame(VADUserStoppedSpeakingFrame())
        await talk.until(lambda: bool(talk.tap.up(UserStoppedSpeakingFrame)))
        await talk.quiet()
        server.go_on()
        await talk.until(lambda: "re: Hi there." in talk.voice.spoken)
        assert talk.user_messages == ["Hi there"]
        server.go_on()
        await talk.until(lambda: talk.voice.spoken[-1:] == ["re: x."])
        assert talk.user_messages == ["Hi there", "x"]


async def test_a_vad_that_hears_the_user_does_not_keep_a_turn_open() -> None:
    play: Play = [START, update("Hi"), end("Hi"), CUE, START, end("there")]
    async with talk_to(play) as (talk, server):
        await talk.task.queue_frame(VADUserStartedSpeakingFrame())
        await talk.task.queue_frame(InputAudioRawFrame(bytes(640), 16_000, 1))
        await talk.until(lambda: talk.voice.spoken == ["re: Hi."])
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: Hi.", "re: there."])


async def test_a_vad_that_hears_the_user_before_late_words_come() -> None:
    from tests.pipecat.test_delayed_text import Later

    play: Play = [START, update("Hi"), end("Hi"), CUE, START, end("there")]
    async with talk_to(play, before_aggregator=[Later()]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: bool(talk.tap.interims))
        await talk.pause(0.1)
        await talk.task.queue_frame(VADUserStartedSpeakingFrame())
        await talk.until(lambda: talk.voice.spoken == ["re: Hi."])
        await talk.quiet()
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: Hi.", "re: there."])
        assert talk.user_messages == ["Hi", "there"]
