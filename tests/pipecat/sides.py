"""Our service and the framework's own, side by side in the same conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from pipecat.frames.frames import BotStoppedSpeakingFrame
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
from pipecat.services.stt_service import STTService

from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from tests.pipecat.conversation import Conversation, ScriptedLLM, Tap, Voice, conversation
from tests.pipecat.wire import Play, WireServer, wire_server

# Some ways to fail came to the framework's own service only in later versions.
PIPECAT = tuple(int(part) for part in version("pipecat-ai").split(".")[:2])

MakeSTT = Callable[[str], STTService]
Check = Callable[["Outcome"], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a conversation came to, before it was ended.

    Attributes:
        user_messages: What the LLM's context says the user said.
        other_messages: What it says that neither the user nor the bot said.
        runs: The words that each inference answered.
        spoken: What the bot said.
        log: What the bot said, and when it was interrupted.
        tap: The frames around the user aggregator.
    """

    user_messages: list[str]
    other_messages: list[str]
    runs: list[str]
    spoken: list[str]
    log: list[tuple[str, str]]
    tap: Tap


def outcome(talk: Conversation) -> Outcome:
    """Look at a conversation; ending it makes the framework flush what it had lost."""
    return Outcome(
        user_messages=talk.user_messages,
        other_messages=talk.other_messages,
        runs=list(talk.llm.runs),
        spoken=list(talk.voice.spoken),
        log=list(talk.voice.log),
        tap=talk.tap,
    )


def ours(url: str, **arguments: Any) -> InkTurnsSTTService:
    """Our service, as it comes."""
    return InkTurnsSTTService(api_key="test-key", url=url, **arguments)


def builtin(url: str, **arguments: Any) -> CartesiaTurnsSTTService:
    """The framework's own service, with its eager end of turn turned on."""
    return CartesiaTurnsSTTService(
        api_key="test-key",
        url=f"{url}/stt/turns/websocket",
        enable_eager_end_of_turn=True,
        **arguments,
    )


@asynccontextmanager
async def talk_to(
    play: Play, make: MakeSTT = ours, **arguments: Any
) -> AsyncIterator[tuple[Conversation, WireServer]]:
    """A conversation with a server that plays what it is given."""
    async with wire_server(play) as server, conversation(make(server.url), **arguments) as talk:
        yield talk, server


async def played(
    play: Play,
    make: MakeSTT = ours,
    *,
    token_delay: float = 0.0,
    speaking_time: float = 0.0,
    params: LLMUserAggregatorParams | None = None,
    cues: Sequence[Callable[[Conversation], object]] = (),
) -> Outcome:
    """Play something to the end, and return what happened.

    Args:
        play: What the server says.
        make: Makes the service.
        token_delay: Seconds that the LLM takes for a token.
        speaking_time: Seconds that the bot speaks.
        params: Of the user aggregator.
        cues: What has to be true before the server goes on, one for each cue of the play.
    """
    async with talk_to(
        play,
        make,
        llm=ScriptedLLM(token_delay=token_delay),
        voice=Voice(speaking_time=speaking_time),
        params=params,
    ) as (talk, server):
        await talk.hear()
        for cue in cues:
            await talk.until(lambda cue=cue: bool(cue(talk)))  # type: ignore[misc]
            server.go_on()
        await server.played.wait()
        await talk.quiet()
        return outcome(talk)


async def only_ours(play: Play, check: Check, **arguments: Any) -> None:
    """Check something that holds with our service and does not with the framework's own."""
    check(await played(play, ours, **arguments))
    theirs = await played(play, builtin, **arguments)
    with pytest.raises(AssertionError):
        check(theirs)


def has_run(words: str) -> Callable[[Conversation], bool]:
    """A cue: the LLM has begun to answer some words."""
    return lambda talk: words in talk.llm.runs


def has_spoken(talk: Conversation) -> bool:
    """A cue: the bot has said something."""
    return bool(talk.voice.spoken)


def is_silent(talk: Conversation) -> bool:
    """A cue: the bot has said something, and is done."""
    return bool(talk.tap.up(BotStoppedSpeakingFrame))
