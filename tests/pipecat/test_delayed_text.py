"""Final text that another processor hands on later, or anew: a translation, a filter of names."""

from __future__ import annotations

import asyncio

import pytest
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from tests.pipecat.sides import MakeSTT, builtin, ours, talk_to
from tests.pipecat.wire import CUE, START, Pause, Play, eager, end, update


class Later(FrameProcessor):
    """Hands finals on later, while all other frames pass."""

    def __init__(self, seconds: float = 0.3, *, anew: bool = False) -> None:
        """Set how much later.

        Args:
            seconds: How much.
            anew: Whether what is handed on is a frame of its own.
        """
        super().__init__()
        self._seconds = seconds
        self._anew = anew
        self._tasks: set[asyncio.Task[None]] = set()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass a frame on, or hold it."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            task = self.create_task(self._hand_on(frame, direction))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            await self.push_frame(frame, direction)

    async def _hand_on(self, frame: TranscriptionFrame, direction: FrameDirection) -> None:
        await asyncio.sleep(self._seconds)
        if self._anew:
            frame = TranscriptionFrame(frame.text.upper(), frame.user_id, frame.timestamp)
        await self.push_frame(frame, direction)


SIDES = pytest.mark.parametrize("make", [ours, builtin], ids=["ours", "built-in"])
KINDS = pytest.mark.parametrize("anew", [False, True], ids=["the same frame", "another frame"])


@KINDS
async def test_a_turn_waits_for_its_text(anew: bool) -> None:
    play: Play = [*(START, update("one"), end("one")), CUE, *(START, update("two"), end("two"))]
    async with talk_to(play, before_aggregator=[Later(anew=anew)]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: len(talk.voice.spoken) == 1)
        server.go_on()
        await talk.until(lambda: len(talk.voice.spoken) == 2)
        await talk.quiet()
        assert [text.lower() for text in talk.user_messages] == ["one", "two"]
        assert [text.lower() for text in talk.voice.spoken] == ["re: one.", "re: two."]
        assert len(talk.tap.up(UserStoppedSpeakingFrame)) == 2


@KINDS
async def test_the_next_turn_starts_before_the_text_of_the_last_is_there(anew: bool) -> None:
    play: Play = [
        *(START, update("one"), end("one"), START, update("two"), Pause(0.5)),
        *(end("two"), START, end("three")),
    ]
    async with talk_to(play, before_aggregator=[Later(anew=anew)]) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.until(
            lambda: talk.voice.spoken[-1:] != [] and "three" in last(talk.voice.spoken)
        )
        await talk.quiet()
        assert [text.lower() for text in talk.user_messages] == ["one", "two", "three"]
        starts = talk.tap.up(UserStartedSpeakingFrame)
        assert len(starts) == len(talk.tap.up(UserStoppedSpeakingFrame)) == 3


def last(spoken: list[str]) -> str:
    return spoken[-1].lower()


@KINDS
async def test_a_prediction_is_kept_until_the_text_is_there(anew: bool) -> None:
    play: Play = [START, update("one"), eager("one"), CUE, end("one")]
    async with talk_to(play, before_aggregator=[Later(anew=anew)]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: talk.llm.runs == ["one"])
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        await talk.quiet()
        assert talk.voice.spoken == ["re: one."]
        assert talk.llm.runs == ["one"]


async def test_a_turn_without_text_ends_at_once_all_the_same() -> None:
    play: Play = [START, end(""), CUE, START, end("one")]
    async with talk_to(play, before_aggregator=[Later()]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: len(talk.tap.up(UserStoppedSpeakingFrame)) == 1)
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: one."])


async def test_noise_between_the_end_of_a_turn_and_its_text() -> None:
    play: Play = [START, end("one"), START, end(""), CUE, START, end("two")]
    async with talk_to(play, before_aggregator=[Later()]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: "re: one." in talk.voice.spoken)
        server.go_on()
        await talk.until(lambda: "re: two." in talk.voice.spoken)
        assert talk.user_messages == ["one", "two"]


@KINDS
async def test_text_that_comes_after_the_framework_has_closed_its_turn(anew: bool) -> None:
    """The framework ends a turn of which it hears no more; here, after 0.1 s instead of 5 s."""
    play: Play = [*(START, update("one"), end("one")), CUE, *(START, update("two"), end("two"))]
    params = LLMUserAggregatorParams(user_turn_stop_timeout=0.1)
    later = Later(0.5, anew=anew)
    async with talk_to(play, before_aggregator=[later], params=params) as (talk, server):
        await talk.hear()
        await talk.until(lambda: "re: one." in [text.lower() for text in talk.voice.spoken])
        server.go_on()
        await talk.until(lambda: "re: two." in [text.lower() for text in talk.voice.spoken])
        assert [text.lower() for text in talk.user_messages] == ["one", "two"]


class Sentences(Later):
    """Hands each sentence of a final on as a frame of its own, while all other frames pass."""

    async def _hand_on(self, frame: TranscriptionFrame, direction: FrameDirection) -> None:
        await asyncio.sleep(self._seconds)
        for sentence in frame.text.split("|"):
            await self.push_frame(TranscriptionFrame(sentence, frame.user_id, frame.timestamp))


@SIDES
@pytest.mark.parametrize("seconds", [0.0, 0.3])
async def test_a_turn_waits_for_all_sentences_of_its_text(make: MakeSTT, seconds: float) -> None:
    play: Play = [START, end("One.|Two."), CUE, START, end("Three.|Four.")]
    async with talk_to(play, make, before_aggregator=[Sentences(seconds)]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: len(talk.voice.spoken) == 1)
        server.go_on()
        await talk.until(lambda: len(talk.voice.spoken) == 2)
        await talk.quiet()
        assert talk.user_messages == ["One. Two.", "Three. Four."]
        assert len(talk.llm.runs) == 2


class Twice(FrameProcessor):
    """Adds a translation to each final, a little later."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self.create_task(self._translate(frame))

    async def _translate(self, frame: TranscriptionFrame) -> None:
        await asyncio.sleep(0.1)
        await self.push_frame(TranscriptionFrame("eins", frame.user_id, frame.timestamp))


async def test_more_text_of_a_turn_that_was_answered_is_no_turn_of_its_own() -> None:
    async with talk_to([START, end("one")], before_aggregator=[Twice()]) as (talk, _):
        await talk.hear()
        await talk.until(lambda: bool(talk.voice.spoken))
        await talk.quiet(0.3)
        assert talk.voice.spoken == ["re: one."]


class Swallow(FrameProcessor):
    """Keeps the first final to itself, as a filter of what must not be said."""

    def __init__(self) -> None:
        super().__init__()
        self._done = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame) and not self._done:
            self._done = True
        elif not isinstance(frame, InterimTranscriptionFrame):
            await self.push_frame(frame, direction)


async def test_text_that_never_comes_does_not_cost_the_next_turn() -> None:
    play: Play = [START, end("one"), Pause(0.05), START, end("two"), CUE, START, end("three")]
    async with talk_to(play, before_aggregator=[Swallow()]) as (talk, server):
        await talk.hear()
        await talk.until(lambda: talk.voice.spoken == ["re: two."])
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: two.", "re: three."])
        assert talk.user_messages == ["two", "three"]
