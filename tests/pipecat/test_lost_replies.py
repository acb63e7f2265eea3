"""A reply begun early that somebody else has taken away is gone: the turn is answered anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pipecat.frames.frames import (
    EagerTranscriptionFrame,
    Frame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from cartesia_ink_plugins.pipecat import SpeculationReport
from tests.pipecat.conversation import Conversation, ScriptedLLM
from tests.pipecat.sides import talk_to
from tests.pipecat.test_pipelines import Slow
from tests.pipecat.wire import CUE, RESUME, START, Pause, Play, eager, end, update

PLAY: Play = [START, update("a"), eager("a"), CUE, end("a")]


def reports_of(talk: Conversation) -> list[str]:
    outcomes: list[str] = []

    async def on_speculation(_: object, report: SpeculationReport) -> None:
        outcomes.append(report.outcome.value)

    talk.stt.add_event_handler("on_speculation", on_speculation)
    return outcomes


async def interrupt_at_the_llm(talk: Conversation) -> None:
    await talk.llm.broadcast_interruption()  # type: ignore[no-untyped-call]


async def interrupt_behind_the_llm(talk: Conversation) -> None:
    await talk.voice.broadcast_interruption()  # type: ignore[no-untyped-call]


async def interrupt_before_the_aggregator(talk: Conversation) -> None:
    await talk.tap.broadcast_interruption()  # type: ignore[no-untyped-call]


async def append_and_run(talk: Conversation) -> None:
    append = LLMMessagesAppendFrame(
        [{"role": "developer", "content": "The table is free."}], run_llm=True
    )
    await talk.task.queue_frame(append)
    await talk.until(lambda: len(talk.llm.runs) == 2)


async def run(talk: Conversation) -> None:
    talk.context.add_message({"role": "user", "content": "Earlier."})
    await talk.task.queue_frame(LLMRunFrame())
    await talk.until(lambda: len(talk.llm.runs) == 2)


@pytest.mark.parametrize(
    "disturb",
    [
        interrupt_at_the_llm,
        interrupt_behind_the_llm,
        interrupt_before_the_aggregator,
        append_and_run,
        run,
    ],
)
@pytest.mark.parametrize("tokens", [0.0, 0.05], ids=["held", "being generated"])
async def test_the_turn_is_answered_once(
    disturb: Callable[[Conversation], Awaitable[None]], tokens: float
) -> None:
    async with talk_to(PLAY, llm=ScriptedLLM(token_delay=tokens)) as (talk, server):
        outcomes = reports_of(talk)
        await talk.hear()
        await talk.until(lambda: talk.llm.runs == ["a"])
        if not tokens:
            await talk.quiet(0.05)
        await disturb(talk)
        await talk.quiet()
        server.go_on()
        await server.played.wait()
        await talk.until(lambda: "re: a." in talk.voice.spoken)
        await talk.quiet()
        assert talk.voice.spoken.count("re: a.") == 1
        assert talk.user_messages[-1] == "a"
        assert outcomes == ["withdrawn"]


class Keeper(FrameProcessor):
    """Keeps some kinds of frames to itself."""

    def __init__(self, *kinds: type[Frame]) -> None:
        super().__init__()
        self._kinds = kinds
        self.kept = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, self._kinds) and getattr(frame, "speculation", True):
            self.kept += 1
        else:
            await self.push_frame(frame, direction)


@pytest.mark.parametrize("resumed", [False, True])
async def test_what_was_never_begun_is_not_reported(resumed: bool) -> None:
    middle: Play = [RESUME, update("a b"), eager("a")] if resumed else []
    play: Play = [START, update("a"), eager("a"), Pause(0.05), *middle, CUE, end("a")]
    for where in ("before_aggregator", "before_llm"):
        keeper = Keeper(EagerTranscriptionFrame, LLMContextFrame)
        places: dict[str, Any] = {where: [keeper]}
        async with talk_to(play, **places) as (talk, server):
            outcomes = reports_of(talk)
            await talk.hear()
            await talk.until(lambda keeper=keeper: keeper.kept > 0)  # type: ignore[misc]
            server.go_on()
            await talk.until(lambda: talk.voice.spoken == ["re: a."])
            await talk.quiet()
            assert outcomes == []
            assert talk.user_messages == ["a"]


async def test_an_interruption_while_the_prediction_is_on_its_way() -> None:
    slow = Slow(0.3, LLMContextFrame)
    async with talk_to(PLAY, before_llm=[slow]) as (talk, server):
        outcomes = reports_of(talk)
        await talk.hear()
        await talk.until(lambda: slow.begun)
        await talk.tap.broadcast_interruption()  # type: ignore[no-untyped-call]
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        await talk.quiet(0.5)
        assert talk.voice.spoken == ["re: a."]
        assert outcomes == []


class SlowToStop(ScriptedLLM):
    """Is in mid-answer until it is told to stop, and then has its stream to close."""

    def __init__(self) -> None:
        super().__init__(token_delay=60.0)
        self.closes = asyncio.Event()

    async def _answer(self, words: str) -> None:
        try:
            await super()._answer(words)
        finally:
            self.token_delay = 0.02
            await self.closes.wait()
            for _ in range(5):  # a few turns of the event loop, for every further stream
                await asyncio.sleep(0)


async def test_a_late_prediction_is_not_taken_for_the_context_of_the_turn() -> None:
    """The next turn would interrupt before that context is there, and not stop its inference."""
    llm = SlowToStop()
    play: Play = [
        *(START, eager("a"), CUE, update("a b"), eager("a b"), CUE),
        [end("a b c"), START, end(" d")],
    ]
    async with talk_to(play, llm=llm) as (talk, server):
        await talk.hear()
        await talk.until(lambda: llm.runs == ["a"])
        server.go_on()
        await talk.until(lambda: len(talk.tap.down(EagerTranscriptionFrame)) == 2)
        server.go_on()
        await talk.until(lambda: len(talk.finals) == 2)
        llm.closes.set()
        await talk.until(lambda: bool(talk.voice.spoken))
        await talk.quiet()
        assert talk.user_messages == ["a b c", "d"]
        assert llm.runs == ["a", "a b", "a b c", "d"]
        assert talk.voice.spoken.count("re: d.") == 1
