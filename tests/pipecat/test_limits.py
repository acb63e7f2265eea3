"""How a pipeline ends, begins again, and goes on over a change, within the promised limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import numpy as np
import pytest
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.stt_service import STTService

from cartesia_ink_plugins.pipecat import InkManualSTTService
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.testing import InkServer, Script
from tests.pipecat.conversation import Conversation, conversation, tone
from tests.pipecat.sides import MakeSTT, builtin, ours
from tests.pipecat.test_lifecycle import NOWHERE, count
from tests.pipecat.wire import START, Pause, Play, end, update, wire_server

DIRECT = pytest.mark.parametrize("direct", [True, False], ids=["direct", "queued"])
# Seconds of audio that take far longer to be sent than the tests of limits wait.
BACKLOG = 60.0


def manual(url: str, **arguments: object) -> InkManualSTTService:
    return InkManualSTTService(api_key="test-key", base_url=url, **arguments)  # type: ignore[arg-type]


async def ends(talk: Conversation, within: float) -> None:
    await talk.task.queue_frame(EndFrame())
    await talk.until(lambda: bool(talk.tap.down(EndFrame)), timeout=within)


@DIRECT
async def test_an_outage_does_not_prolong_the_end(direct: bool) -> None:
    stt = ours(NOWHERE, drain_timeout=0.5, enable_direct_mode=direct)
    gaps: list[float] = []
    stt.add_event_handler("on_audio_gap", lambda _, seconds: gaps.append(seconds))
    async with conversation(stt) as talk:
        await talk.hear(BACKLOG)
        await talk.until(lambda: talk.tap.audio == 1)
        await ends(talk, within=8)
        await talk.until(lambda: bool(gaps))
        assert sum(gaps) == pytest.approx(BACKLOG)


async def test_connections_that_die_do_not_prolong_the_end() -> None:
    dying: Play = [Pause(0.2), Reset()]
    async with (
        wire_server(*[dying] * 100) as server,
        conversation(ours(server.url, drain_timeout=0.5)) as talk,
    ):
        await talk.hear(BACKLOG)
        await talk.until(lambda: len(server.audio) > 1)
        await ends(talk, within=8)


async def test_an_outage_does_not_prolong_the_end_of_the_manual_service() -> None:
    async with conversation(manual(NOWHERE, drain_timeout=0.5)) as talk:
        await talk.hear(BACKLOG)
        await talk.until(lambda: talk.tap.audio == 1)
        await ends(talk, within=8)


@pytest.mark.parametrize("make", [ours, manual], ids=["turns", "manual"])
async def test_cancelling_an_end_ends_at_once(make: MakeSTT) -> None:
    stt = make(NOWHERE, drain_timeout=600.0)  # type: ignore[call-arg]
    async with asyncio.timeout(20), conversation(stt) as talk:
        await talk.hear(BACKLOG)
        await talk.until(lambda: talk.tap.audio == 1)
        await talk.task.queue_frame(EndFrame())
        await talk.pause(0.1)
        assert not talk.tap.down(EndFrame)


async def end_pipeline(talk: Conversation) -> None:
    await ends(talk, within=20)


async def cancel(talk: Conversation) -> None:
    await talk.task.cancel()


async def cancel_while_ending(talk: Conversation) -> None:
    await talk.task.queue_frame(EndFrame())
    await talk.task.cancel()


async def mute(talk: Conversation) -> None:
    stt = talk.stt
    assert isinstance(stt, STTService)
    await talk.task.queue_frame(STTMuteFrame(mute=True))
    await talk.until(lambda: stt.is_muted)


async def reject(talk: Conversation) -> None:
    assert isinstance(talk.stt, STTService)
    await talk.stt.push_error("No credit.", force_treat_as_permanent=True)
    assert not talk.stt.is_usable


async def two_lives(
    stt: FrameProcessor, leave: Callable[[Conversation], Awaitable[None]] = end_pipeline
) -> list[str]:
    """What is said to one service in two pipelines, one after the other."""
    messages: list[str] = []
    for _ in range(2):
        async with conversation(stt) as talk:
            await talk.say(tone(16_000, 0.2))
            await talk.until(lambda: bool(talk.voice.spoken))
            messages += talk.user_messages
            await leave(talk)
    return messages


async def test_a_service_works_in_a_second_pipeline() -> None:
    plays: list[Play] = [[START, update(w), end(w)] for w in ("one", "two", "three", "four")]
    async with wire_server(*plays) as server:
        assert await two_lives(ours(server.url)) == ["one", "two"]
        assert await two_lives(builtin(server.url)) == ["three", "four"]


@DIRECT
@pytest.mark.parametrize("leave", [cancel, cancel_while_ending, mute, reject])
async def test_what_ended_the_first_pipeline_does_not_count_in_the_second(
    leave: Callable[[Conversation], Awaitable[None]], direct: bool
) -> None:
    plays: list[Play] = [[START, update(w), end(w)] for w in ("one", "two")]
    async with wire_server(*plays) as server:
        stt = ours(server.url, enable_direct_mode=direct)
        assert await two_lives(stt, leave) == ["one", "two"]


async def test_the_frameworks_own_service_does_not_start_again_after_a_cancellation() -> None:
    async with wire_server([]) as server:
        theirs = builtin(server.url)
        async with conversation(theirs) as talk:
            await talk.hear()
            await talk.until(lambda: talk.tap.audio == 1)
            await cancel(talk)
            await talk.until(lambda: theirs._cancelling)
        with pytest.raises(TimeoutError):
            async with conversation(theirs, patience=1.0):
                pass


async def test_events_are_counted_anew_in_a_second_pipeline() -> None:
    async with wire_server([], []) as server:
        stt = ours(server.url)
        calls = count(stt, "on_connected", "on_disconnected")
        for life in (1, 2):
            async with conversation(stt) as talk:
                await talk.until(lambda life=life: len(calls["on_connected"]) == life)  # type: ignore[misc]
                await ends(talk, within=20)
            assert len(calls["on_disconnected"]) == life


@pytest.mark.parametrize("leave", [end_pipeline, cancel])
async def test_the_manual_service_works_in_a_second_pipeline(
    leave: Callable[[Conversation], Awaitable[None]],
) -> None:
    async with InkServer(Script("Hello there.")) as server:
        stt = manual(server.url)
        for _ in range(2):
            async with conversation(stt) as talk:
                await talk.say(Script("Hello there.").audio())
                assert (await stt.finalize()).strip() == "Hello there."
                await leave(talk)


async def test_another_rate_of_the_audio_is_no_disconnection() -> None:
    async with wire_server([], [START, end("one")]) as server:
        stt = ours(server.url)
        calls = count(stt, "on_connected", "on_disconnected", "on_connection_error")
        async with conversation(stt) as talk:
            await talk.until(lambda: bool(calls["on_connected"]))
            server.plays.pop(0)
            await talk.task.queue_frame(InputAudioRawFrame(bytes(320), 8_000, 1))
            await talk.until(lambda: talk.user_messages == ["one"])
            assert calls["on_disconnected"] == calls["on_connection_error"] == []
            assert len(calls["on_connected"]) == 1
        assert len(calls["on_disconnected"]) == 1


async def test_a_connection_that_cannot_be_replaced_is_a_disconnection() -> None:
    async with wire_server([]) as server:
        stt = ours(server.url)
        calls = count(stt, "on_connected", "on_disconnected", "on_connection_error")
        async with conversation(stt) as talk:
            await talk.until(lambda: bool(calls["on_connected"]))
            server.reject_for(600)
            await talk.task.queue_frame(InputAudioRawFrame(bytes(320), 8_000, 1))
            await talk.until(lambda: bool(calls["on_connection_error"]))
            assert len(calls["on_disconnected"]) == 1


async def test_new_settings_of_the_manual_service_are_no_disconnection() -> None:
    async with InkServer(Script("Hello there.")) as server:
        stt = manual(server.url)
        calls = count(stt, "on_connected", "on_disconnected")
        async with conversation(stt) as talk:
            await talk.until(lambda: bool(calls["on_connected"]))
            delta = InkManualSTTService.Settings(model="ink-whisper")
            await talk.task.queue_frame(STTUpdateSettingsFrame(delta=delta))
            await talk.until(lambda: len(server.connections) == 2)
            await talk.quiet()
            assert calls["on_disconnected"] == []


@pytest.mark.parametrize("stall", [1.0, 1.9])
async def test_a_stall_of_the_line_inside_a_word_costs_nothing(stall: float) -> None:
    async with (
        wire_server([START, update("He")]) as server,
        conversation(ours(server.url)) as talk,
    ):
        word = np.frombuffer(tone(16_000, 0.6 + stall), "<i2").copy()
        word[word == 0] = 1
        pcm, before = word.tobytes(), 32_000 * 6 // 10
        await talk.say(pcm[:before])
        await talk.pause(stall)
        await talk.task.queue_frame(InputAudioRawFrame(pcm[before:], 16_000, 1))
        with suppress(TimeoutError):
            await talk.until(lambda: len(server.audio[-1]) >= len(pcm), timeout=8)
        assert pcm in bytes(server.audio[-1])
