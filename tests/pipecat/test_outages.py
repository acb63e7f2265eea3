"""Connections that are lost, refused or slow: not visible in the conversation.

The core keeps these promises and tests them one by one; here they are seen from the pipeline,
beside the framework's own service.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.services.stt_service import STTService

from cartesia_ink_plugins import Resilience
from cartesia_ink_plugins.server.faults import Outage, Reset
from tests.pipecat.conversation import Conversation, conversation, tone
from tests.pipecat.sides import PIPECAT, MakeSTT, Outcome, builtin, ours, outcome
from tests.pipecat.wire import CUE, START, Pause, Play, eager, end, update, wire_server

SENTENCE = "Book a table for two."


async def heard(make: MakeSTT, *plays: Play, seconds: float) -> Outcome:
    """What becomes of a sentence that is said to a connection after the other."""
    async with wire_server(*plays) as server, conversation(make(server.url)) as talk:
        await talk.say(tone(16_000, 0.3))
        await talk.say(bytes(2 * int(16_000 * seconds)))
        await talk.quiet()
        return outcome(talk)


async def test_a_connection_lost_in_mid_turn_does_not_cut_the_turn() -> None:
    first: Play = [START, update("Book a table"), Pause(0.05), Reset()]
    second: Play = [START, update("Book a table for"), end(SENTENCE)]
    assert (await heard(ours, first, second, seconds=1)).user_messages == [SENTENCE]
    if PIPECAT >= (1, 14):
        assert (await heard(builtin, first, second, seconds=1)).user_messages != [SENTENCE]


async def test_a_server_that_falls_silent_does_not_leave_the_turn_open() -> None:
    """In the framework's own, the turn then stays open for ever."""
    silent: Play = [START, update("Book")]
    working: Play = [START, update("Book a table"), end(SENTENCE)]

    def impatient(url: str) -> STTService:
        return ours(url, resilience=Resilience(stall_timeout=1.0))

    async def said(make: MakeSTT) -> list[str]:
        async with (
            wire_server(silent, working) as server,
            conversation(make(server.url)) as talk,
        ):
            for _ in range(8):
                await talk.say(tone(16_000, 0.25))
                await talk.say(bytes(4_800))
            await talk.quiet()
            return talk.user_messages

    mine, theirs = await asyncio.gather(said(impatient), said(builtin))
    assert mine == [SENTENCE]
    assert theirs == []


async def test_connections_that_die_at_once_are_not_the_end() -> None:
    dying: Play = [Reset()]
    working: Play = [START, update("Book"), end(SENTENCE)]

    async def usable(make: MakeSTT) -> tuple[bool, list[str]]:
        async with (
            wire_server(dying, dying, dying, dying, working) as server,
            conversation(make(server.url)) as talk,
        ):
            await talk.say(tone(16_000, 0.3))
            async with asyncio.timeout(10):
                while talk.stt.is_usable and not talk.user_messages:
                    await talk.say(bytes(3_200))
            return talk.stt.is_usable, talk.user_messages

    assert await usable(ours) == (True, [SENTENCE])
    assert (await usable(builtin))[0] is False


async def test_a_server_that_is_away_for_long_is_not_the_end() -> None:
    """The framework's own gives up after three attempts, here in quick succession."""

    def hasty(url: str) -> STTService:
        return builtin(url, reconnect_backoff_min_wait=0.01, reconnect_backoff_max_wait=0.02)

    async def usable_after(failures: int, make: MakeSTT) -> bool:
        stt, failed = make("ws://127.0.0.1:9"), 0

        async def on_connection_error(*_: object) -> None:
            nonlocal failed
            failed += 1

        stt.add_event_handler("on_connection_error", on_connection_error)
        async with conversation(stt) as talk:
            await talk.until(lambda: failed >= failures or not stt.is_usable)
            return stt.is_usable

    assert await usable_after(5, ours)
    if PIPECAT >= (1, 14):
        assert not await usable_after(50, hasty)


async def test_words_said_during_an_outage_are_not_lost() -> None:
    """The framework's own first waits for 4 s, and keeps no audio."""
    whole = 2 * int(16_000 * 2.5)

    async def sent(make: MakeSTT) -> int:
        first: Play = [Outage(1.0, status=503)]
        async with wire_server(first, []) as server, conversation(make(server.url)) as talk:
            await talk.say(tone(16_000, 2.0))
            await talk.say(bytes(16_000))
            with suppress(TimeoutError):
                await talk.until(lambda: len(server.audio[-1]) >= 0.9 * whole, timeout=2)
            return len(server.audio[-1]) if len(server.audio) > 1 else 0

    mine, theirs = await asyncio.gather(sent(ours), sent(builtin))
    assert mine >= 0.9 * whole
    assert theirs < 0.9 * whole or PIPECAT < (1, 14)


async def test_audio_that_has_to_be_given_up_is_told() -> None:
    first: Play = [Outage(1.0, status=503)]
    gaps: list[float] = []
    async with wire_server(first, []) as server:
        stt = ours(server.url, resilience=Resilience(replay_buffer_seconds=0.2))
        stt.add_event_handler("on_audio_gap", lambda _, seconds: gaps.append(seconds))
        async with conversation(stt) as talk:
            await talk.say(tone(16_000, 1.5))
            await talk.until(lambda: sum(gaps) >= 0.3)


async def test_a_late_end_costs_no_second_inference() -> None:
    """The framework's own withdraws a prediction after 5 s; the server's timeout is 5.6 s."""

    async def runs(make: MakeSTT) -> list[str]:
        play: Play = [START, eager("Hi"), CUE, Pause(5.3), end("Hi")]
        params = LLMUserAggregatorParams(user_turn_stop_timeout=60)
        async with (
            wire_server(play) as server,
            conversation(make(server.url), params=params) as talk,
        ):
            await talk.hear()
            await talk.until(lambda: bool(talk.llm.runs))
            server.go_on()
            await keep_hearing(talk, server.played)
            await talk.quiet()
            return talk.llm.runs

    mine, theirs = await asyncio.gather(runs(ours), runs(builtin))
    assert mine == ["Hi"]
    assert theirs == ["Hi", "Hi"]


async def keep_hearing(talk: Conversation, until: asyncio.Event) -> None:
    while not until.is_set():
        await talk.say(bytes(3_200))
