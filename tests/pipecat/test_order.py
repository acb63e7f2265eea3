"""Whatever order turn events come in: one user message per turn, one answer, nothing withdrawn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pipecat.frames.frames import EagerEndOfTurnCancelFrame, ProposedUserStartedSpeakingFrame

from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.pipecat.strategies import InkUserTurnStopStrategy
from tests.pipecat.conversation import ScriptedLLM
from tests.pipecat.sides import Outcome, builtin, has_run, only_ours, ours, played, talk_to
from tests.pipecat.wire import CUE, RESUME, START, Pause, Play, eager, end, update


def says(*turns: str) -> list[str]:
    return [f"re: {turn}." for turn in turns]


async def test_a_turn_is_heard_and_answered() -> None:
    talk = await played([START, update("Hello"), update("Hello there."), end("Hello there.")])
    assert talk.user_messages == ["Hello there."]
    assert talk.spoken == says("Hello there.")


async def test_the_answer_is_begun_at_the_eager_end_and_spoken_after_the_end() -> None:
    play: Play = [START, update("Hi"), eager("Hi there"), CUE, end("Hi there")]
    talk = await played(play, cues=[has_run("Hi there")])
    assert talk.runs == ["Hi there"]
    assert talk.spoken == says("Hi there")
    assert talk.user_messages == ["Hi there"]


async def test_nothing_is_spoken_before_the_turn_ends() -> None:
    talk = await played([START, update("Hi"), eager("Hi there"), CUE], cues=[has_run("Hi there")])
    assert talk.runs == ["Hi there"]
    assert talk.spoken == []


async def test_turns_that_end_while_the_start_of_one_is_on_its_way_are_messages_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy machine the start that was held arrives behind the start of the next turn."""
    push = InkUserTurnStopStrategy.push_frame
    later: list[asyncio.Task[None]] = []

    async def push_late(self: InkUserTurnStopStrategy, frame: Any, *args: Any) -> None:
        async def arrive() -> None:
            await asyncio.sleep(0.05)
            await push(self, frame, *args)

        if isinstance(frame, ProposedUserStartedSpeakingFrame):
            later.append(asyncio.create_task(arrive()))
        else:
            await push(self, frame, *args)

    monkeypatch.setattr(InkUserTurnStopStrategy, "push_frame", push_late)
    first: list[TurnEvent] = [START, end("one"), START, update(" two"), end(" two"), START]
    play: Play = [first, Pause(0.03), [end(" three"), START, update(" four")], end(" four")]
    talk = await played(play)
    assert later
    assert talk.user_messages == ["one", "two", "three", "four"]


async def test_a_withdrawn_answer_is_never_spoken() -> None:
    play: Play = [START, eager("a"), CUE, RESUME, update("a b"), eager("a b"), end("a b")]
    talk = await played(play, cues=[has_run("a")])
    assert talk.spoken == says("a b")


@pytest.mark.parametrize("goes_on", ["with words", "with a sound"])
async def test_a_withdrawn_answer_is_not_paid_to_its_end(goes_on: str) -> None:
    words: list[TurnEvent] = [update("a b")] if goes_on == "with words" else []
    llm = ScriptedLLM(token_delay=600.0)
    async with talk_to([START, eager("a"), CUE, RESUME, *words], llm=llm) as (talk, server):
        await talk.hear()
        await talk.until(lambda: talk.llm.busy)
        server.go_on()
        await talk.until(lambda: not talk.llm.busy)
        assert talk.tap.down(EagerEndOfTurnCancelFrame)


async def test_a_prediction_of_other_words_than_the_final_ones_is_answered_anew() -> None:
    talk = await played([START, eager("a"), CUE, end("a b")], cues=[has_run("a")])
    assert talk.runs == ["a", "a b"]
    assert talk.spoken == says("a b")


@pytest.mark.parametrize("pace", ["one segment", "apart"])
async def test_a_resume_right_behind_its_prediction(pace: str) -> None:
    burst: list[TurnEvent] = [eager("a"), RESUME, eager("a b")]

    def check(talk: Outcome) -> None:
        assert talk.user_messages == ["a b"]
        assert talk.spoken == says("a b")

    if pace == "one segment":
        await only_ours([[START, update("a"), *burst, end("a b")]], check)
    else:
        check(await played([START, update("a"), *burst, end("a b")]))


async def test_a_start_right_behind_the_last_end() -> None:
    def check(talk: Outcome) -> None:
        assert talk.user_messages == ["one", "two"]
        assert talk.spoken[-1:] == says("two")

    await only_ours([START, update("one"), [end("one"), START], update(" two"), end(" two")], check)


async def test_three_turns_in_one_segment() -> None:
    def check(talk: Outcome) -> None:
        assert talk.user_messages == ["one", "two", "three"]
        assert talk.spoken[-1:] == says("three")

    turns: list[TurnEvent] = [
        *(START, update("one"), eager("one"), end("one")),
        *(START, update(" two"), eager(" two"), RESUME, end(" two")),
        *(START, end(" three")),
    ]
    await only_ours([turns], check)


async def test_messages_that_are_void_when_they_are_read_are_not_sent_on() -> None:
    talk = await played([[START, update("a"), eager("a"), RESUME, update("a b"), end("a b")]])
    assert talk.runs == ["a b"]


async def test_a_prediction_that_comes_with_its_end_costs_one_inference() -> None:
    talk = await played([[START, eager("a"), end("a b")]])
    assert talk.runs == ["a b"]
    assert talk.spoken == says("a b")


async def test_nothing_is_begun_behind_a_reply_that_is_not_to_be_interrupted() -> None:
    """The LLM would come to a prediction that was withdrawn long ago, and answer it."""

    def polite(url: str) -> InkTurnsSTTService:
        return ours(url, should_interrupt=False, resume_grace=0.0)

    first: Play = [START, end("one"), CUE]
    second: Play = [START, eager(" two"), Pause(0.05), RESUME, update(" two b"), end(" two b")]
    cues = [has_run("one")]
    talk = await played([*first, *second], polite, token_delay=0.2, cues=cues)
    assert talk.runs == ["one", "two b"]
    assert talk.spoken == says("one", "two b")


async def test_the_same_words_predicted_again_cost_one_inference() -> None:
    again: list[TurnEvent] = [RESUME, eager("a")]
    play: Play = [START, eager("a"), CUE, *again, *again, end("a")]

    def patient(url: str) -> InkTurnsSTTService:
        return ours(url, resume_grace=30.0)

    talk = await played(play, patient, cues=[has_run("a")])
    assert talk.runs == ["a"]
    assert talk.spoken == says("a")


async def test_no_inference_on_no_words() -> None:
    rest: list[TurnEvent] = [RESUME, update("a"), end("a")]
    talk = await played([START, eager(""), Pause(0.02), *rest])
    assert talk.runs == ["a"]
    theirs = await played([START, eager(""), CUE, *rest], builtin, cues=[has_run("")])
    assert theirs.runs != ["a"]
