"""A turn without words: no dead air, nobody is asked to repeat, the next turn is answered."""

from __future__ import annotations

from pipecat.frames.frames import InterruptionFrame, UserStoppedSpeakingFrame
from pipecat.processors.aggregators.llm_response_universal import (
    LLMUserAggregator,
    LLMUserAggregatorParams,
)

from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.pipecat.llm_observer import all_processors
from tests.pipecat.conversation import Conversation, ScriptedLLM, Voice
from tests.pipecat.sides import (
    PIPECAT,
    Outcome,
    has_spoken,
    is_silent,
    only_ours,
    ours,
    outcome,
    played,
    talk_to,
)
from tests.pipecat.wire import CUE, START, Pause, Play, end, update

NOISE: Play = [START, Pause(0.02), end("")]
QUESTION: Play = [START, update("How are you?"), end("How are you?")]


def on_words(url: str) -> InkTurnsSTTService:
    return ours(url, interrupt_on="words")


async def test_noise_ends_the_turn_at_once() -> None:
    def check(talk: Outcome) -> None:
        assert talk.tap.up(UserStoppedSpeakingFrame)
        assert talk.user_messages == []
        assert talk.runs == []

    await only_ours(NOISE, check)


async def test_noise_is_told_as_a_turn_without_an_inference() -> None:
    async with talk_to(NOISE) as (talk, server):
        aggregator = next(
            p for p in all_processors(talk.task.pipeline) if isinstance(p, LLMUserAggregator)
        )
        events: list[str] = []
        for event in ("on_user_turn_inference_triggered", "on_user_turn_stopped"):
            aggregator.add_event_handler(event, lambda *_, event=event: events.append(event))
        await talk.hear()
        await server.played.wait()
        await talk.until(lambda: bool(events))
        await talk.quiet()
        assert events == ["on_user_turn_stopped"]


async def test_words_after_noise_are_answered() -> None:
    talk = await played([*NOISE, *QUESTION])
    assert talk.user_messages == ["How are you?"]
    assert talk.spoken == ["re: How are you?."]


async def test_a_bot_interrupted_by_noise_takes_up_its_answer() -> None:
    def check(talk: Outcome) -> None:
        assert talk.tap.up(UserStoppedSpeakingFrame)[1:], "dead air"
        assert talk.other_messages == []
        assert talk.runs == ["How are you?", "How are you?"]

    await only_ours([*QUESTION, CUE, *NOISE], check, speaking_time=3.0, cues=[has_spoken])


async def test_nobody_is_asked_to_repeat_it() -> None:
    """The framework waits for five seconds before it does so; here, a tenth of that."""

    def check(talk: Outcome) -> None:
        assert talk.other_messages == []
        assert talk.tap.up(UserStoppedSpeakingFrame)[1:], "dead air"

    params = LLMUserAggregatorParams(user_turn_stop_timeout=0.5)
    play: Play = [*QUESTION, CUE, *NOISE, Pause(0.6)]
    if PIPECAT >= (1, 14):
        await only_ours(play, check, params=params, speaking_time=3.0, cues=[has_spoken])
    else:
        check(await played(play, params=params, speaking_time=3.0, cues=[has_spoken]))


async def test_a_bot_that_had_finished_says_nothing_more() -> None:
    talk = await played([*QUESTION, CUE, *NOISE], cues=[is_silent])
    assert talk.runs == ["How are you?"]


async def test_noise_does_not_interrupt_when_words_do() -> None:
    play: Play = [*QUESTION, CUE, *NOISE]
    talk = await played(play, on_words, speaking_time=3.0, cues=[has_spoken])
    assert talk.log == [("interrupted", ""), ("spoken", "re: How are you?.")]
    assert talk.runs == ["How are you?"]


async def test_the_first_words_interrupt() -> None:
    async def until(talk: Conversation, kind: str, count: int) -> None:
        await talk.until(lambda: [k for k, _ in talk.voice.log].count(kind) == count)

    play: Play = [*QUESTION, CUE, START, Pause(0.02), update(" Wait"), CUE]
    async with talk_to(play, on_words, llm=ScriptedLLM(), voice=Voice(speaking_time=5.0)) as (
        talk,
        server,
    ):
        await talk.hear()
        await until(talk, "spoken", 1)
        server.go_on()
        await until(talk, "interrupted", 2)
        server.go_on()
        assert len(talk.tap.up(InterruptionFrame)) == 2
        await server.played.wait()
        assert outcome(talk).log[-1] == ("interrupted", "")


async def test_a_whole_turn_in_one_message_interrupts_once_and_is_answered() -> None:
    play: Play = [*QUESTION, CUE, [START, end(" Stop.")]]
    talk = await played(play, on_words, speaking_time=3.0, cues=[has_spoken])
    assert talk.user_messages == ["How are you?", "Stop."]
    assert talk.log[2:] == [("interrupted", ""), ("spoken", "re: Stop..")]


async def test_a_bot_that_must_not_be_interrupted_is_not() -> None:
    def polite(url: str) -> InkTurnsSTTService:
        return ours(url, should_interrupt=False)

    play: Play = [*QUESTION, CUE, START, update(" Well"), end(" Well done.")]
    talk = await played(play, polite, speaking_time=3.0, cues=[has_spoken])
    assert [kind for kind, _ in talk.log] == ["spoken", "spoken"]
    assert talk.user_messages == ["How are you?", "Well done."]
