"""Starting, ending, failing, and being switched away from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    ManuallySwitchServiceFrame,
    STTMetadataFrame,
    STTUpdateSettingsFrame,
)
from pipecat.pipeline.service_switcher import (
    ServiceSwitcher,
    ServiceSwitcherStrategyFailover,
    ServiceSwitcherStrategyManual,
)
from pipecat.services.stt_service import STTService
from pipecat.turns.user_turn_strategies import EagerUserTurnStrategies, ExternalUserTurnStrategies

from cartesia_ink_plugins import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.net import obstacles
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from tests.pipecat.conversation import Voice, conversation
from tests.pipecat.sides import MakeSTT, builtin, ours, talk_to
from tests.pipecat.wire import CUE, START, Pause, Play, eager, end, update, wire_server

NOWHERE = "ws://127.0.0.1:9"


def count(stt: STTService, *events: str) -> dict[str, list[Any]]:
    """Collect the arguments of every call of some event handlers."""
    calls: dict[str, list[Any]] = {event: [] for event in events}

    def collector(event: str) -> Callable[..., None]:
        return lambda _, *arguments: calls[event].append(arguments)

    for event in events:
        stt.add_event_handler(event, collector(event))
    return calls


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that answers every request with these bytes, or not at all."""
    over = asyncio.Event()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if not answer:
                await over.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        over.set()
        await asyncio.gather(*filter(None, serving))


def refusing(status: int) -> AbstractAsyncContextManager[str]:
    """A server that answers every upgrade with an HTTP status."""
    return answering(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())


async def test_start_up_does_not_wait_for_a_server_that_hangs() -> None:
    async with answering(b"") as url:
        stt = ours(url)
        calls = count(stt, "on_connection_error")
        async with conversation(stt) as talk:
            await talk.hear()
            await talk.until(lambda: talk.tap.audio == 1)
            assert calls["on_connection_error"] == [], "the attempt was waited for"
        with pytest.raises(TimeoutError):
            async with conversation(builtin(url), patience=1.0):
                pass


@pytest.mark.parametrize("direct", [True, False])
async def test_audio_passes_without_a_queue_unless_that_is_wanted(direct: bool) -> None:
    stt = ours(NOWHERE, enable_direct_mode=direct)
    async with conversation(stt):
        calls = count(stt, "on_after_process_frame")
        await stt.queue_frame(InputAudioRawFrame(b"\0" * 640, 16_000, 1))
        handled = [type(frame) for (frame,) in calls["on_after_process_frame"]]
    assert (InputAudioRawFrame in handled) is direct


async def test_a_server_that_is_not_there_is_no_reason_to_give_up() -> None:
    stt = ours(NOWHERE)
    calls = count(stt, "on_connection_error", "on_connected", "on_disconnected")
    async with conversation(stt) as talk:
        await talk.hear()
        await talk.until(lambda: len(calls["on_connection_error"]) >= 2)
        assert stt.is_usable
    assert calls["on_connected"] == calls["on_disconnected"] == []


async def test_every_connection_is_told_once() -> None:
    async with wire_server([START, update("a"), end("a")]) as server:
        stt = ours(server.url)
        calls = count(stt, "on_connected", "on_disconnected", "on_connection_error")
        async with conversation(stt) as talk:
            await talk.hear()
            await server.played.wait()
            assert calls["on_disconnected"] == []
        theirs = builtin(server.url)
        their_calls = count(theirs, "on_disconnected")
        async with conversation(theirs) as talk:
            await talk.quiet(0.05)
    assert [len(c) for c in calls.values()] == [1, 1, 0]
    assert len(their_calls["on_disconnected"]) > 1, "the framework's own now tells it once, too"


async def test_turn_events_are_told_as_they_were_said() -> None:
    async with wire_server([START, update(" a"), end(" a b")]) as server:
        stt = ours(server.url)
        calls = count(stt, "on_turn_start", "on_turn_update", "on_turn_end")
        async with conversation(stt) as talk:
            await talk.hear()
            await talk.until(lambda: bool(calls["on_turn_end"]))
    assert calls == {
        "on_turn_start": [("",)],
        "on_turn_update": [(" a",)],
        "on_turn_end": [(" a b",)],
    }


async def said_at_the_end(make: MakeSTT) -> list[str]:
    """What the user has said when the pipeline ends in mid-turn."""
    async with talk_to([START, update("Good bye")], make) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet(0.05)
        await talk.task.queue_frame(EndFrame())
        await talk.until(lambda: bool(talk.tap.down(EndFrame)), timeout=8)
        return [final.text for final in talk.finals]


async def test_the_end_of_the_pipeline_in_mid_turn_delivers_the_words() -> None:
    mine, theirs = await asyncio.gather(said_at_the_end(ours), said_at_the_end(builtin))
    assert mine == ["Good bye"]
    assert theirs == []


async def test_how_long_the_last_words_may_take_can_be_set() -> None:
    def hasty(url: str) -> InkTurnsSTTService:
        return ours(url, drain_timeout=0.05)

    assert await said_at_the_end(hasty) == ["Good bye"]


async def test_cancelling_in_mid_turn_ends_at_once() -> None:
    async with talk_to([START, update("Good bye")]) as (talk, server):
        await talk.hear()
        await server.played.wait()
    assert "close" not in "".join(server.texts), "drained, although cancelled"


@pytest.mark.parametrize("way", ["end", "cancel"])
async def test_nothing_is_left_behind(way: str) -> None:
    before = asyncio.all_tasks()
    async with talk_to([START, eager("Hi")]) as (talk, _):
        await talk.hear()
        await talk.until(lambda: bool(talk.llm.runs))
        if way == "end":
            await talk.task.queue_frame(EndFrame())
            await talk.until(lambda: bool(talk.tap.down(EndFrame)), timeout=8)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_what_cannot_work_is_reported_once_and_the_service_goes_on_trying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(obstacles, "TELL_AFTER", 0.01)
    async with refusing(302) as url:
        stt = ours(url)
        calls = count(stt, "on_connection_error", "on_error")
        async with conversation(stt) as talk:
            await talk.hear()
            await talk.until(lambda: len(calls["on_connection_error"]) >= 4)
            assert stt.is_usable
    ((error,),) = calls["on_error"]
    assert isinstance(error, ErrorFrame)
    assert not error.fatal
    assert "HTTP 302 redirects" in error.error
    assert "check base_url" in error.error


async def test_a_rejection_is_reported_once_and_makes_the_service_unusable() -> None:
    async with refusing(401) as url:
        stt = ours(url)
        calls = count(stt, "on_connection_error", "on_error")
        async with conversation(stt) as talk:
            await talk.hear()
            await talk.until(lambda: not stt.is_usable)
            await talk.hear()
            await talk.quiet(0.05)
    assert [len(c) for c in calls.values()] == [1, 1]
    (error,) = calls["on_error"][0]
    assert isinstance(error, ErrorFrame)
    assert "test-key" not in str(error)
    assert not error.fatal


async def test_a_switcher_steps_aside_from_a_refusal() -> None:
    play: Play = [START, update("Hi"), end("Hi")]
    async with refusing(401) as refusing_url, wire_server(play) as server:
        first, second = ours(refusing_url), ours(server.url)
        switcher = ServiceSwitcher([first, second], ServiceSwitcherStrategyFailover)
        async with conversation(switcher) as talk:
            await talk.until(lambda: switcher.strategy.active_service is second)
            await talk.hear()
            await server.played.wait()
            await talk.quiet()
            assert talk.user_messages == ["Hi"]


async def test_a_service_that_was_switched_to_is_obeyed_in_all_it_recommends() -> None:
    first: Play = [START, update("Hi"), end("Hi")]
    second: Play = [START, update("Wait"), CUE, eager("Wait"), CUE, end("Wait")]
    async with wire_server(first) as here, wire_server(second) as there:
        ours_here, ours_there = ours(here.url), ours(there.url)
        switcher = ServiceSwitcher([ours_here, ours_there], ServiceSwitcherStrategyManual)
        async with conversation(switcher, voice=Voice(speaking_time=600.0)) as talk:
            await talk.hear()
            await talk.until(lambda: talk.voice.spoken == ["re: Hi."])
            await talk.task.queue_frame(ManuallySwitchServiceFrame(service=ours_there))
            await talk.until(lambda: switcher.strategy.active_service is ours_there)
            await talk.quiet()
            await talk.hear()
            await talk.until(lambda: talk.voice.log[-1] == ("interrupted", ""))
            there.go_on()
            await talk.until(lambda: talk.llm.runs[-1] == "Wait")
            there.go_on()
            await talk.until(lambda: talk.voice.spoken[1:] == ["re: Wait."])
            assert talk.llm.runs == ["Hi", "Wait"]


async def test_settings_may_bring_a_refused_service_back() -> None:
    async with refusing(403) as url:
        stt = ours(url)
        calls = count(stt, "on_error")
        async with conversation(stt) as talk:
            await talk.until(lambda: not stt.is_usable)
            change = STTUpdateSettingsFrame(delta=stt.Settings(turn_end_timeout_ms=4000))
            await talk.task.queue_frame(change)
            await talk.until(lambda: len(calls["on_error"]) == 2)


async def test_a_service_that_is_declared_usable_again_tries_again() -> None:
    async with refusing(402) as url:
        stt = ours(url)
        calls = count(stt, "on_error")
        async with conversation(stt) as talk:
            await talk.until(lambda: not stt.is_usable)
            await stt.set_usable(True)
            await talk.until(lambda: len(calls["on_error"]) == 2)


async def test_strategies_are_recommended() -> None:
    eager = ours(NOWHERE).service_metadata_frame()
    plain = ours(NOWHERE, enable_eager_end_of_turn=False).service_metadata_frame()
    assert isinstance(eager, STTMetadataFrame)
    assert isinstance(eager.user_turn_strategies, EagerUserTurnStrategies)
    assert type(plain.user_turn_strategies) is ExternalUserTurnStrategies
    assert eager.ttfs_p99_latency == 0


async def test_one_option_turns_speculation_off() -> None:
    def plain(url: str) -> InkTurnsSTTService:
        return ours(url, enable_eager_end_of_turn=False)

    play: Play = [START, eager("Hi"), Pause(0.05), end("Hi")]
    async with talk_to(play, plain) as (talk, server):
        await talk.hear()
        await server.played.wait()
        await talk.quiet()
        assert talk.llm.runs == ["Hi"]
        assert talk.voice.spoken == ["re: Hi."]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"encoding": "mp3"}, "encoding"),
        ({"interrupt_on": "never"}, "interrupt_on"),
        ({"settings": InkTurnsSTTService.Settings(keyterm=["a"] * 101)}, "keyterms"),
        ({"settings": InkTurnsSTTService.Settings(turn_start_threshold=7)}, "turn_start_threshold"),
        ({"settings": InkTurnsSTTService.Settings(model="ink-whisper")}, "model"),
        ({"url": "ftp://example.com"}, "url"),
    ],
)
def test_a_wrong_argument_is_named_at_once(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}"):
        InkTurnsSTTService(**{"api_key": "test-key", **arguments})


def test_credentials_come_from_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="CARTESIA_API_KEY"):
        InkTurnsSTTService()
    with pytest.raises(UsageError, match="credentials"):
        InkTurnsSTTService(api_key="a", credentials=Credentials(api_key="b"))
    monkeypatch.setenv("CARTESIA_API_KEY", "c")
    InkTurnsSTTService()


async def test_extra_headers_go_with_the_upgrade_request() -> None:
    def behind_a_gateway(url: str) -> InkTurnsSTTService:
        return ours(url, extra_headers={"X-Tenant": "bistro"})

    async with talk_to([], behind_a_gateway) as (talk, server):
        await talk.until(lambda: bool(server.headers))
        assert server.headers[0]["X-Tenant"] == "bistro"
        assert server.headers[0]["X-API-Key"] == "test-key"


def test_extra_headers_are_no_way_around_the_credentials() -> None:
    with pytest.raises(UsageError, match="x-api-key") as refusal:
        ours(NOWHERE, extra_headers={"x-api-key": "another-key"})
    assert "another-key" not in str(refusal.value)


def test_what_has_no_meaning_here_is_said(warnings: list[str]) -> None:
    ours(NOWHERE, watchdog_min_timeout=0.5, keepalive_timeout=30, reconnect_on_error=True)
    for name in ("watchdog_min_timeout", "keepalive_timeout", "reconnect_on_error"):
        assert any(f"`{name}` has no meaning" in line for line in warnings), name


def test_arguments_of_the_builtin_class_are_accepted() -> None:
    InkTurnsSTTService(
        api_key="test-key",
        url="wss://api.cartesia.ai/stt/turns/websocket",
        sample_rate=8000,
        should_interrupt=False,
        watchdog_min_timeout=0.5,
        enable_eager_end_of_turn=True,
        extra_headers={"X-Thing": "1"},
        settings=InkTurnsSTTService.Settings(keyterm=["Cartesia"], turn_end_threshold=0.3),
        audio_passthrough=False,
        ttfs_p99_latency=1.0,
    )
