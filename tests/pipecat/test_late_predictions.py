"""A prediction that reaches the LLM service after it was given up is answered by nobody."""

from __future__ import annotations

import asyncio

import pytest
from pipecat.frames.frames import Frame, LLMContextFrame, UserStoppedSpeakingFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from cartesia_ink_plugins.pipecat import AlwaysSpeculate, Spending, speculative_reply
from tests.pipecat.conversation import Conversation
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.test_lost_replies import reports_of
from tests.pipecat.wire import CUE, RESUME, START, Play, eager, end, update


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speculative_reply, "_PATIENCE", 0.05)


class Held(FrameProcessor):
    """Holds the first prediction until it is told to hand it on, as a slow memory might."""

    def __init__(self, *, in_order: bool) -> None:
        """Hold one.

        Args:
            in_order: Whether what follows the prediction waits behind it.
        """
        super().__init__()
        self._in_order = in_order
        self.holds = asyncio.Event()
        self._release = asyncio.Event()
        self._released = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hold a frame, or pass it on."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame) or not frame.speculation or self.holds.is_set():
            await self.push_frame(frame, direction)
            return
        self.holds.set()
        if self._in_order:
            await self._hold(frame, direction)
        else:
            self.create_task(self._hold(frame, direction))

    async def _hold(self, frame: Frame, direction: FrameDirection) -> None:
        await self._release.wait()
        await self.push_frame(frame, direction)
        self._released.set()

    async def hand_on(self) -> None:
        """Hand the prediction on."""
        self._release.set()
        await self._released.wait()


class Watching(AlwaysSpeculate):
    """Answers every prediction, and sees what that costs."""

    def watch(self, spending: Spending) -> None:
        """Keep what grows."""
        self.spending = spending


HELLO = "Hello, is anybody there?"
KINDS = pytest.mark.parametrize("in_order", [True, False], ids=["in order", "overtaken"])


async def has_ended(talk: Conversation) -> None:
    """The aggregator has ended the turn: it waits for the prediction no more."""
    await talk.until(lambda: bool(talk.tap.up(UserStoppedSpeakingFrame)))


async def has_answered(talk: Conversation) -> None:
    """The bot has spoken, and says no more."""
    await talk.until(lambda: bool(talk.voice.spoken))
    await talk.quiet()


@KINDS
@pytest.mark.parametrize("words", [HELLO, HELLO + " Hello?"], ids=["confirmed", "mismatched"])
async def test_one_that_comes_after_the_end_of_its_turn(words: str, in_order: bool) -> None:
    play: Play = [START, eager(HELLO), CUE, end(words)]
    held, policy = Held(in_order=in_order), Watching()
    async with talk_to(
        play, lambda url: ours(url, speculation_policy=policy), before_llm=[held]
    ) as (talk, server):
        outcomes = reports_of(talk)
        await talk.hear()
        await held.holds.wait()
        server.go_on()
        await has_ended(talk)
        await held.hand_on()
        await has_answered(talk)
        assert talk.voice.spoken == [f"re: {words}."]
        assert talk.llm.runs == [words]
        assert outcomes == []
        assert policy.spending.tokens == policy.spending.last_tokens > 0


@KINDS
async def test_one_that_comes_while_its_turn_goes_on(in_order: bool) -> None:
    play: Play = [START, eager("a"), CUE, RESUME, update("a b"), CUE, end("a b")]
    held = Held(in_order=in_order)
    async with talk_to(play, before_llm=[held]) as (talk, server):
        outcomes = reports_of(talk)
        await talk.hear()
        await held.holds.wait()
        server.go_on()
        await talk.until(lambda: talk.tap.interims == ["a b"])
        await talk.pause(0.2)
        await held.hand_on()
        await talk.quiet()
        server.go_on()
        await has_ended(talk)
        await has_answered(talk)
        assert talk.voice.spoken == ["re: a b."]
        assert talk.llm.runs == ["a b"]
        assert outcomes == []


async def test_one_that_survives_an_interruption() -> None:
    play: Play = [START, eager("a"), CUE, end("a")]
    held = Held(in_order=False)
    async with talk_to(play, before_llm=[held]) as (talk, server):
        await talk.hear()
        await held.holds.wait()
        await talk.tap.broadcast_interruption()  # type: ignore[no-untyped-call]
        await talk.pause(0.2)
        await held.hand_on()
        await talk.quiet()
        server.go_on()
        await has_ended(talk)
        await has_answered(talk)
        assert talk.voice.spoken == ["re: a."]


async def test_the_next_turn_is_answered_early_all_the_same() -> None:
    play: Play = [START, eager("a"), CUE, end("a"), CUE, START, eager("b"), CUE, end("b")]
    held = Held(in_order=False)
    async with talk_to(play, before_llm=[held]) as (talk, server):
        outcomes = reports_of(talk)
        await talk.hear()
        await held.holds.wait()
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: a."])
        server.go_on()
        await talk.until(lambda: talk.llm.runs == ["a", "b"])
        await held.hand_on()
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: a.", "re: b."])
        await talk.quiet()
        assert talk.llm.runs == ["a", "b"]
        assert outcomes == ["kept"]
