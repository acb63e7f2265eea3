"""The same right order in other pipelines: with processors in between, with other strategies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from pipecat.frames.frames import (
    EagerTranscriptionFrame,
    Frame,
    FunctionCallFromLLM,
    InterimTranscriptionFrame,
    LLMContextFrame,
    TranscriptionFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.user_start import MinWordsUserTurnStartStrategy
from pipecat.turns.user_turn_strategies import (
    EagerUserTurnStrategies,
    ExternalUserTurnStrategies,
    UserTurnStrategies,
)

from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.pipecat import SpeculationReport
from tests.pipecat.conversation import Conversation, ScriptedLLM, conversation
from tests.pipecat.sides import MakeSTT, builtin, has_spoken, ours, talk_to
from tests.pipecat.wire import (
    CUE,
    RESUME,
    START,
    Pause,
    Play,
    eager,
    end,
    update,
    wire_server,
)


class Slow(FrameProcessor):
    """Takes its time over some kinds of frames, like a memory that is asked over the network."""

    def __init__(self, seconds: float, *kinds: type[Frame]) -> None:
        super().__init__()
        self._seconds = seconds
        self._kinds = kinds
        self.begun = False
        self.hurry = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, self._kinds):
            self.begun = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self.hurry.wait(), self._seconds)
        await self.push_frame(frame, direction)


class Deaf(FrameProcessor):
    """Keeps the user's words to itself."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, EagerTranscriptionFrame | InterimTranscriptionFrame):
            await self.push_frame(frame, direction)


TWO_THOUGHTS: Play = [
    *(START, eager("a"), Pause(0.01), RESUME, update("a b"), Pause(0.01)),
    *(eager("a b"), Pause(0.01), end("a b"), START, end(" c")),
]


@pytest.mark.parametrize("tokens", [0.0, 0.03])
async def test_a_slow_processor_before_the_llm(tokens: float) -> None:
    slow = Slow(0.05, LLMContextFrame)
    llm = ScriptedLLM(token_delay=tokens)
    async with talk_to(TWO_THOUGHTS, before_llm=[slow], llm=llm) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet()
        assert talk.user_messages == ["a b", "c"]
        assert "re: a." not in talk.voice.spoken
        assert talk.voice.spoken[-1] == "re: c."


async def test_a_withdrawn_prediction_that_is_still_on_its_way_to_the_llm() -> None:
    play: Play = [START, eager("a"), CUE, RESUME, update("a b"), end("a b")]

    async def spoken(make: MakeSTT, slow: Slow, seen: Callable[[Conversation], bool]) -> list[str]:
        async with talk_to(play, make, before_llm=[slow]) as (talk, server):
            await talk.hear()
            await talk.until(lambda: slow.begun)
            server.go_on()
            await talk.until(lambda: seen(talk))
            slow.hurry.set()
            await server.played.wait()
            await talk.quiet()
            return talk.voice.spoken

    # Ours waits with all that follows until the prediction has arrived.
    assert await spoken(ours, Slow(0.05, LLMContextFrame), has_spoken) == ["re: a b."]
    theirs = await spoken(builtin, Slow(60, LLMContextFrame), lambda talk: bool(talk.finals))
    assert theirs != ["re: a b."], "the framework's own now gets it right, too"


async def test_a_withdrawal_never_overtakes_its_prediction() -> None:
    play: Play = [START, eager("a"), Pause(0.01), RESUME, update("a b")]
    slow, llm = Slow(0.2, LLMContextFrame), ScriptedLLM(token_delay=600.0)
    async with talk_to(play, before_llm=[slow], llm=llm) as (talk, _):
        await talk.hear()
        await talk.until(lambda: bool(talk.llm.runs))
        await talk.until(lambda: not talk.llm.busy)


async def test_a_slow_processor_before_the_aggregator() -> None:
    slow = Slow(0.03, EagerTranscriptionFrame, TranscriptionFrame)
    async with talk_to(TWO_THOUGHTS, before_aggregator=[slow]) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet(0.3)
        assert talk.user_messages == ["a b", "c"]
        assert "re: a." not in talk.voice.spoken
        assert talk.voice.spoken[-1] == "re: c."


async def test_many_processors_in_between() -> None:
    burst: list[TurnEvent] = [update("a"), eager("a"), RESUME, update("a b"), eager("a b")]
    play: Play = [[START, *burst, end("a b"), START, end(" c")], [START, *burst, end(" d")]]
    between = [Slow(0, Frame) for _ in range(3)]
    async with talk_to(play, before_aggregator=between) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet()
        assert talk.user_messages == ["a b", "c", "d"]
        assert talk.voice.spoken[-1] == "re: d."


async def test_words_that_never_reach_the_aggregator_cost_patience_once() -> None:
    play: Play = [*(START, eager("a"), RESUME, end("a b")), *(START, eager(" c"), end(" c"))]
    async with talk_to(play, before_aggregator=[Deaf()]) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.until(lambda: talk.voice.spoken[-1:] == ["re: c."])
        assert talk.user_messages == ["a b", "c"]


@pytest.mark.parametrize(
    "strategies",
    [
        EagerUserTurnStrategies(),
        ExternalUserTurnStrategies(),
        UserTurnStrategies(
            start=[MinWordsUserTurnStartStrategy(min_words=1)],
            stop=ExternalUserTurnStrategies().stop,
        ),
    ],
    ids=["eager", "external", "min words"],
)
async def test_strategies_of_the_users_own(strategies: UserTurnStrategies) -> None:
    params = LLMUserAggregatorParams(user_turn_strategies=strategies)
    one: list[TurnEvent] = [START, update("a"), eager("a"), RESUME, update("a b"), end("a b")]
    play: Play = [one, START, update(" c"), end(" c")]
    async with talk_to(play, params=params) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet()
        assert talk.user_messages == ["a b", "c"]
        assert talk.voice.spoken[-1] == "re: c."


async def test_strategies_of_the_users_own_answer_early_too() -> None:
    """They interrupt from where they are, and that must not take the prediction with it."""
    params = LLMUserAggregatorParams(user_turn_strategies=EagerUserTurnStrategies())
    play: Play = [[START, eager("a")], CUE, end("a")]
    between = [Slow(0.05, EagerTranscriptionFrame)]
    async with talk_to(play, params=params, before_aggregator=between) as (talk, server):
        await talk.hear()
        await talk.until(lambda: talk.llm.runs == ["a"])
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: a."])


async def test_recommended_strategies_can_be_passed_by_hand() -> None:
    async with wire_server([START, eager("a"), Pause(0.05), end("a")]) as server:
        stt = ours(server.url)
        strategies = stt.recommended_user_turn_strategies()
        params = LLMUserAggregatorParams(user_turn_strategies=strategies)
        async with conversation(stt, params=params) as talk:
            await talk.hear()
            await server.played.wait()
            await talk.quiet()
            assert talk.llm.runs == ["a"]
            assert talk.voice.spoken == ["re: a."]


class ToolLLM(ScriptedLLM):
    """Wants to call a tool before it answers."""

    async def _answer(self, words: str) -> None:
        if len(self.contexts[-1]) > 1:
            await super()._answer(words)
            return
        call = FunctionCallFromLLM(
            context=self.last_context,
            tool_call_id="1",
            function_name="look_up",
            arguments={},
        )
        await self.run_function_calls([call])


async def test_a_tool_is_called_once_and_after_the_end() -> None:
    play: Play = [START, eager("a"), CUE, end("a")]
    llm = ToolLLM()
    called: list[str] = []
    outcomes: list[str] = []

    async def on_speculation(_: object, report: SpeculationReport) -> None:
        outcomes.append(report.outcome)

    async def look_up(call: object) -> None:
        called.append("look_up")
        await call.result_callback("found")  # type: ignore[attr-defined]

    llm.register_function("look_up", look_up)
    async with talk_to(play, llm=llm) as (talk, server):
        talk.stt.add_event_handler("on_speculation", on_speculation)
        await talk.hear()
        await talk.until(lambda: outcomes == ["withdrawn"])
        server.go_on()
        await server.played.wait()
        await talk.quiet()
        assert called == ["look_up"]
        assert talk.voice.spoken == ["re: a."]


async def test_frames_of_a_turn_come_in_order() -> None:
    play: Play = [START, update("a"), eager("a b"), Pause(0.05), end("a b")]
    async with talk_to(play) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet()
        kinds = [
            type(frame).__name__
            for frame in talk.tap.down(Frame)
            if "Transcription" in type(frame).__name__ or "Proposed" in type(frame).__name__
        ]
        assert kinds == [
            "ProposedUserStartedSpeakingFrame",
            "InterimTranscriptionFrame",
            "EagerTranscriptionFrame",
            "TranscriptionFrame",
            "ProposedUserStoppedSpeakingFrame",
        ]
        (final,) = talk.finals
        assert final.finalized
        assert final.result == {
            "type": "turn.end",
            "transcript": "a b",
            "request_id": "00000000-0000-4000-8000-000000000000",
        }
