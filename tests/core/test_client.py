"""The client on real sockets: with the local Ink server, and with servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from cartesia_ink_plugins import InkTurnsClient
from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import ClosedError, RejectedError, UsageError
from cartesia_ink_plugins.core.events import (
    Connected,
    ConnectFailed,
    Disconnected,
    Event,
    SettingsRejected,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.tap import Moment, MomentKind, SessionStart
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.frames import Opcode
from cartesia_ink_plugins.testing import InkServer, Script
from tests.core.sockets import Peer, raw_server
from tests.core.world import check_order, turn_events

SECRET = "sk_car_0123456789abcdef"
KEY = Credentials(api_key=SECRET)
PCM16 = AudioFormat()
HELLO = Script("Hello there.", "Two people please.", lead_in=0.1)
# The local server takes audio at any pace here, so that no test lasts as long as its audio.
HURRY = Resilience(catch_up_rate=1000.0)
FULL = Resilience(catch_up_rate=1e6, replay_buffer_seconds=1e6)
# What would wait for ever is told from a machine that is busy.
PATIENCE = 30.0
ENDLESS = Resilience(catch_up_rate=1000.0, drain_timeout=1e6)
# So many bytes to a second that sockets are full at once: after five seconds without a reader the
# connection is given up.
BROAD = AudioFormat(Encoding.PCM_F32LE, 192_000)


@pytest.fixture(autouse=True)
async def _leaves_nothing() -> AsyncIterator[None]:
    """No test leaves a task or a socket: that would be a ResourceWarning, which is an error."""
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()


def client(
    url: str,
    credentials: Credentials = KEY,
    resilience: Resilience = HURRY,
    **options: object,
) -> InkTurnsClient:
    return InkTurnsClient(
        TurnsOptions(base_url=url, **options),  # type: ignore[arg-type]
        credentials,
        resilience=resilience,
    )


def broad_client(url: str) -> InkTurnsClient:
    return client(url, resilience=FULL, encoding=BROAD.encoding, sample_rate=BROAD.sample_rate)


async def rest(ink: InkTurnsClient) -> list[Event]:
    """All events until the end."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in ink]


async def until(ink: InkTurnsClient, kind: type[Event]) -> list[Event]:
    """All events up to one of a kind."""
    events: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        async for event in ink:
            events.append(event)
            if isinstance(event, kind):
                break
    return events


def finals(events: Sequence[Event]) -> list[str]:
    return [event.transcript for event in events if isinstance(event, TurnEnd)]


async def fill(ink: InkTurnsClient) -> None:
    """Send audio until the sockets on the way to a server that does not read are full."""
    sent = -1.0
    async with asyncio.timeout(PATIENCE):
        while ink.snapshot().sent > sent:
            sent = ink.snapshot().sent
            if ink.snapshot().pending < 10.0:
                ink.send_audio(bytes(2**20))
            await asyncio.sleep(0.1)


async def at_once(condition: Callable[[], object]) -> None:
    """Wait for what needs no timer: so many steps of the loop take milliseconds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)


async def say(peer: Peer, *events: Connected | TurnEvent) -> None:
    """Send messages in one segment, as a server may."""
    for event in events:
        peer.send(Opcode.TEXT, encode(event))
    await peer.writer.drain()


class TestAConversation:
    async def test_words_go_in_as_sound_and_come_out_as_turns(self) -> None:
        async with InkServer(HELLO) as server:
            async with client(server.url) as ink:
                ink.send_audio(HELLO.audio())
                await ink.finish()
                events = await rest(ink)
                snapshot = ink.snapshot()
            (record,) = server.connections
        check_order(events)
        assert finals(events) == HELLO.transcripts
        assert events[0] == Connected(record.request_id)
        assert {e.request_id for e in turn_events(events)} == {record.request_id}
        assert snapshot.received == snapshot.sent == pytest.approx(HELLO.seconds)
        assert (snapshot.pending, snapshot.lost, snapshot.replayed) == (0, 0, 0)
        assert (snapshot.connections, snapshot.turns, dict(snapshot.protocol_violations)) == (
            1,
            2,
            {},
        )
        assert record.close_code == 1000

    async def test_taps_learn_of_a_session_first_and_of_what_the_framework_did(self) -> None:
        class Recorder:
            def __init__(self) -> None:
                self.moments: list[Moment] = []

            def on(self, moment: Moment) -> None:
                self.moments.append(moment)

        tap = Recorder()
        async with InkServer(HELLO) as server:
            options = TurnsOptions(base_url=server.url)
            started_at = time.time()
            async with InkTurnsClient(options, KEY, taps=[tap]) as ink:
                ink.report(MomentKind.BOT_STARTED)
        first, *rest = tap.moments
        assert first.kind is MomentKind.STARTED
        assert isinstance(first.payload, SessionStart)
        assert first.payload.options == options
        assert first.payload.epoch + first.time == pytest.approx(started_at, abs=PATIENCE)
        assert MomentKind.BOT_STARTED in [moment.kind for moment in rest]
        assert rest[-1].kind is MomentKind.FINISHED

    async def test_events_can_be_read_while_audio_is_sent(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            reading = asyncio.create_task(rest(ink))
            pcm = HELLO.audio()
            for at in range(0, len(pcm), 640):
                ink.send_audio(pcm[at : at + 640])
                await asyncio.sleep(0)
            await ink.finish()
            assert finals(await reading) == HELLO.transcripts

    async def test_one_callback_receives_every_event_in_order(self) -> None:
        events: list[Event] = []
        async with InkServer(HELLO) as server:
            options = TurnsOptions(base_url=server.url)
            async with InkTurnsClient(options, KEY, on_event=events.append) as ink:
                ink.send_audio(HELLO.audio())
                await ink.finish()
                assert await rest(ink) == []
        assert isinstance(events[0], Connected)
        assert finals(events) == HELLO.transcripts
        check_order(turn_events(events))

    async def test_a_callback_can_be_set_later_and_taken_away_again(self) -> None:
        events: list[Event] = []
        async with InkServer(HELLO) as server, client(server.url) as ink:
            assert isinstance(await anext(ink), Connected)
            ink.on_event = events.append
            ink.send_audio(HELLO.audio())
            await ink.finish()
            assert finals(events) == HELLO.transcripts
            assert await rest(ink) == []
        async with InkServer(HELLO) as server, client(server.url) as ink:
            ink.on_event = events.append
            ink.on_event = None
            ink.send_audio(HELLO.audio())
            await ink.finish()
            assert finals(await rest(ink)) == HELLO.transcripts

    async def test_unread_events_go_to_a_callback_that_is_set(self) -> None:
        events: list[Event] = []
        async with InkServer(HELLO) as server, client(server.url) as ink:
            ink.send_audio(HELLO.audio())
            await ink.finish()
            ink.on_event = events.append
            assert finals(events) == HELLO.transcripts

    async def test_another_sample_rate_before_the_first_audio_is_no_news(self) -> None:
        events: list[Event] = []
        async with InkServer(HELLO) as server:
            options = TurnsOptions(base_url=server.url)
            async with InkTurnsClient(options, KEY, on_event=events.append) as ink:
                waiting = asyncio.create_task(ink.wait_closed())
                while not ink.is_connected:
                    await asyncio.sleep(0.01)
                ink.set_sample_rate(8000)
                ink.send_audio(HELLO.audio(ink.options.format))
                with pytest.raises(UsageError, match="sent already"):
                    ink.set_sample_rate(16_000)
                await ink.finish()
                await waiting
            assert server.connections[-1].parameter("sample_rate") == "8000"
        assert finals(events) == HELLO.transcripts
        assert not [event for event in events if isinstance(event, Disconnected)]

    async def test_a_callback_that_raises_is_logged_and_costs_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        events: list[Event] = []

        def fail(event: Event) -> None:
            events.append(event)
            raise RuntimeError("a bug of the application")

        async with InkServer(HELLO) as server:
            options = TurnsOptions(base_url=server.url)
            async with InkTurnsClient(options, KEY, on_event=fail) as ink:
                ink.send_audio(HELLO.audio())
                await ink.finish()
                assert ink.snapshot().connections == 1
        assert finals(events) == HELLO.transcripts
        assert len([r for r in caplog.records if r.exc_info]) == len(events)

    async def test_a_callback_may_send_audio_and_the_order_stays(self) -> None:
        events: list[Event] = []
        pcm = HELLO.audio()

        def speak(event: Event) -> None:
            if isinstance(event, Connected):
                ink.send_audio(pcm)
            events.append(event)

        async with InkServer(HELLO) as server:
            options = TurnsOptions(base_url=server.url)
            ink = InkTurnsClient(options, KEY, on_event=speak)
            async with ink:
                while not events:
                    await asyncio.sleep(0.01)
                await ink.finish()
        assert isinstance(events[0], Connected)
        assert finals(events) == HELLO.transcripts

    async def test_nothing_waits_for_the_network(self) -> None:
        """Every call returns without the event loop having had a turn."""
        async with raw_server(Peer.read_request) as server:  # accepts and says nothing
            ink = client(server.url)
            ink.start()
            for _ in range(100):
                ink.send_audio(PCM16.silence(0.02))
            ink.configure(TurnSettings(turn_end_threshold=0.2))
            ink.update_keyterms(["Cartesia"])
            assert not ink.is_connected
            assert ink.request_id is None
            assert ink.snapshot().pending == pytest.approx(2.0)
            await ink.aclose()

    async def test_the_first_audio_starts_it(self) -> None:
        async with InkServer(HELLO) as server:
            ink = client(server.url)
            ink.send_audio(HELLO.audio())
            await ink.finish()
            assert finals(await rest(ink)) == HELLO.transcripts
            await ink.aclose()

    async def test_what_is_asked_for_stands_in_the_url_and_who_asks_does_not(self) -> None:
        async with InkServer(HELLO) as server:
            async with client(server.url, keyterms=["table for two"]) as ink:
                await until(ink, Connected)
            (record,) = server.connections
        assert record.query == [
            ("model", "ink-2"),
            ("encoding", "pcm_s16le"),
            ("sample_rate", "16000"),
            ("keyterm", "table for two"),
        ]
        assert record.headers["x-api-key"] == "***"
        assert record.headers["cartesia-version"] == "2026-03-01"

    async def test_an_eager_end_that_is_void_before_anybody_saw_it_starts_no_reply(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await say(
                peer,
                Connected(),
                TurnStart(),
                TurnEagerEnd("Hey"),
                TurnResume(),
                TurnUpdate("Hey you"),
                TurnEagerEnd("Hey you."),
                TurnEnd("Hey you."),
            )

        async with raw_server(talk) as server, client(server.url) as ink:
            await asyncio.sleep(0.1)  # nobody reads meanwhile
            events = turn_events(await until(ink, TurnEnd))
        assert [type(event) for event in events] == [
            TurnStart,
            TurnUpdate,
            TurnUpdate,
            TurnUpdate,
            TurnEnd,
        ]

    async def test_speech_times_are_wall_clock_times(self) -> None:
        script = Script("Yes.", lead_in=0.1)
        async with InkServer(script) as server, client(server.url) as ink:
            begun = time.time()
            pcm = script.audio()
            for at in range(0, len(pcm), 1600):
                ink.send_audio(pcm[at : at + 1600])
                await asyncio.sleep(0.05)
            end = (await until(ink, TurnEnd))[-1]
        assert isinstance(end, TurnEnd)
        assert end.timing is not None
        assert end.timing.speech_start is not None
        assert end.timing.speech_end is not None
        assert begun - 0.1 < end.timing.speech_start < end.timing.speech_end < time.time()


class TestBadInput:
    def test_no_key(self) -> None:
        with pytest.raises(UsageError, match="CARTESIA_API_KEY"):
            InkTurnsClient()

    async def test_half_a_sample(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            with pytest.raises(UsageError, match=r"^pcm: "):
                ink.send_audio(b"\0\0\0")

    async def test_audio_after_the_end(self) -> None:
        async with InkServer(HELLO) as server:
            for end in (InkTurnsClient.finish, InkTurnsClient.aclose):
                ink = client(server.url)
                await end(ink)
                with pytest.raises(ClosedError, match=r"^send_audio: "):
                    ink.send_audio(b"\0\0")
                await ink.aclose()


class TestRejections:
    async def test_a_wrong_key_is_raised_once_and_not_retried(self) -> None:
        async with InkServer(HELLO, api_keys=["other"]) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.5))
            with pytest.raises(RejectedError) as refused:
                await rest(ink)
            assert refused.value.status == 401
            assert "not valid" in str(refused.value)
            assert ink.rejection is refused.value
            assert await rest(ink) == []
            with pytest.raises(ClosedError):
                ink.send_audio(b"\0\0")
            assert len(server.connections) == 1

    async def test_finish_does_not_wait_for_a_server_that_rejects(self) -> None:
        async with InkServer(HELLO, api_keys=["other"]) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.5))
            await ink.finish()
            with pytest.raises(RejectedError):
                await rest(ink)

    async def test_wrong_settings_raise_with_status_and_request_id(self) -> None:
        async with InkServer(HELLO) as server, client(server.url, model="ink-3") as ink:
            with pytest.raises(RejectedError) as refused:
                await rest(ink)
            assert refused.value.status == 400
            assert refused.value.request_id == server.connections[0].request_id
            assert len(server.connections) == 1

    @pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
    async def test_a_busy_server_is_asked_again(self, status: str) -> None:
        async def talk(peer: Peer) -> None:
            if peer is server.peers[0]:
                await peer.read_request()
                peer.answer(status, b'{"message":"busy"}', "Retry-After: 0\r\n")
            else:
                await peer.upgrade()
                await say(peer, Connected())

        async with raw_server(talk) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.5))
            failed, connected = await until(ink, Connected)
            assert isinstance(failed, ConnectFailed)
            assert failed.status == int(status[:3])
            assert failed.reason == f"HTTP {status[:3]}: busy"
            assert isinstance(connected, Connected)

    async def test_a_retry_after_that_says_never_is_not_believed(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.answer("503 Service Unavailable", b"", "Retry-After: inf\r\n")

        async with raw_server(talk) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.5))
            (failed,) = await until(ink, ConnectFailed)
            assert isinstance(failed, ConnectFailed)
            assert failed.retry_in is not None
            assert failed.retry_in < 60.0


class TestCredentials:
    async def test_a_token_is_requested_with_every_connect(self) -> None:
        tokens = iter(["one", "two", "three"])

        async def provider() -> str:
            return next(tokens)

        async with (
            InkServer(HELLO, api_keys=["one", "two"]) as server,
            client(server.url, Credentials(token_provider=provider)) as ink,
        ):
            await until(ink, Connected)
            server.close_all(1012)
            ink.send_audio(PCM16.silence(0.1))
            await until(ink, Connected)
            assert next(tokens) == "three"
            assert "x-api-key" not in server.connections[0].headers

    async def test_a_provider_that_fails_is_asked_again_and_its_words_are_not_repeated(
        self,
    ) -> None:
        failures = [RuntimeError(f"cannot reach https://x?key={SECRET}"), KeyError(SECRET)]

        async def provider() -> str:
            if failures:
                raise failures.pop(0)
            return "token"

        async with (
            InkServer(HELLO) as server,
            client(server.url, Credentials(token_provider=provider)) as ink,
        ):
            ink.send_audio(HELLO.audio())
            first, second, connected = await until(ink, Connected)
            assert isinstance(connected, Connected)
            assert [type(first), type(second)] == [ConnectFailed, ConnectFailed]
            assert SECRET not in repr((first, second))

    async def test_a_provider_that_hangs_is_given_up(self) -> None:
        async def provider() -> str:
            await asyncio.Event().wait()
            return "never"

        resilience = Resilience(connect_timeout=0.1)
        async with (
            InkServer(HELLO) as server,
            client(server.url, Credentials(token_provider=provider), resilience) as ink,
        ):
            ink.send_audio(PCM16.silence(0.1))
            (failed,) = await until(ink, ConnectFailed)
            assert isinstance(failed, ConnectFailed)
            assert failed.reason == "no answer to the handshake"

    @pytest.mark.parametrize("way", ["api_key", "access_token", "token_provider"])
    @pytest.mark.parametrize("inside", [False, True])
    async def test_a_server_that_repeats_a_secret_is_not_quoted(
        self, way: str, inside: bool
    ) -> None:
        async def provider() -> str:
            return SECRET

        async def talk(peer: Peer) -> None:
            error = {"type": "error", "message": f"bad key {SECRET}", "status_code": 401}
            if inside:
                await peer.upgrade()
                peer.send(Opcode.TEXT, json.dumps(error))
            else:
                await peer.read_request()
                peer.answer("401 Unauthorized", json.dumps(error).encode())

        secret = provider if way == "token_provider" else SECRET
        credentials = Credentials(**{way: secret})  # type: ignore[arg-type]
        async with raw_server(talk) as server, client(server.url, credentials) as ink:
            with pytest.raises(RejectedError) as refused:
                await rest(ink)
            assert SECRET not in str(refused.value)
            assert "bad key ***" in str(refused.value)

    async def test_the_key_stands_in_no_log_line_and_no_repr(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with InkServer(HELLO) as server, client(server.url) as ink:
            ink.send_audio(HELLO.audio())
            await until(ink, TurnEnd)
            server.close_all(1012)
            await ink.finish()
            for thing in (ink, ink.options, await rest(ink), ink.snapshot()):
                assert SECRET not in repr(thing)
        assert SECRET not in caplog.text

    async def test_extra_headers_go_with_every_connect_and_into_no_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.writer.transport.abort()

        caplog.set_level(logging.DEBUG)
        async with (
            raw_server(talk) as server,
            client(server.url, extra_headers={"X-Tenant": "tenant 17"}) as ink,
        ):
            await until(ink, Disconnected)
            await until(ink, Disconnected)
            for peer in server.peers[:2]:
                assert "\r\nX-Tenant: tenant 17\r\n" in peer.request
                assert f"\r\nX-API-Key: {SECRET}\r\n" in peer.request
        assert "tenant 17" not in caplog.text


class TestALostConnection:
    @pytest.mark.parametrize("code", [1000, 1006, 1011, 1012])
    async def test_in_mid_turn_is_invisible(self, code: int) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            pcm = HELLO.audio()
            cut = PCM16.size(sum(HELLO.spans[0]) / 2)
            ink.send_audio(pcm[:cut])
            events = await until(ink, TurnStart)
            server.close_all(code)
            ink.send_audio(pcm[cut:])
            await ink.finish()
            events += await rest(ink)
            check_order(events)
            assert finals(events) == HELLO.transcripts
            assert len([e for e in events if isinstance(e, TurnStart)]) == 2
            assert ink.snapshot().connections == 2
            assert ink.snapshot().replayed > 0

    async def test_a_server_that_is_gone_is_waited_for(self) -> None:
        async with InkServer(HELLO) as server:
            port = server.port
            ink = client(server.url)
            ink.send_audio(HELLO.audio())
            await until(ink, TurnEnd)
        ink.send_audio(PCM16.silence(0.1))
        await until(ink, ConnectFailed)
        assert not ink.is_connected
        async with InkServer(HELLO, port=port):
            await until(ink, Connected)
            assert ink.is_connected
            await ink.aclose()

    async def test_a_half_open_handshake_is_given_up_and_tried_again(self) -> None:
        async def talk(peer: Peer) -> None:
            if peer is server.peers[0]:
                await peer.read_request()
            else:
                await peer.upgrade()
                await say(peer, Connected())

        resilience = Resilience(connect_timeout=0.1)
        async with raw_server(talk) as server, client(server.url, resilience=resilience) as ink:
            ink.send_audio(PCM16.silence(0.1))
            failed, _ = await until(ink, Connected)
            assert isinstance(failed, ConnectFailed)


class TestWhatAServerShouldNotSend:
    async def test_is_survived_and_counted(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, "{not json")
            peer.send(Opcode.BINARY, b"\0\1\2")
            peer.send(Opcode.TEXT, b'{"type":"turn.up', fin=False)
            peer.send(Opcode.PING, b"x")
            peer.send(Opcode.CONTINUATION, b'date","transcript":"Hey"}')
            peer.send(Opcode.TEXT, '{"type":"turn.applause"}')
            await say(peer, TurnEnd("Hey."))

        async with raw_server(talk) as server, client(server.url) as ink:
            events = turn_events(await until(ink, TurnEnd))
            assert finals(events) == ["Hey."]
            assert [type(event) for event in events] == [TurnStart, TurnUpdate, TurnEnd]
            assert sum(ink.snapshot().protocol_violations.values()) == 4

    async def test_what_is_huge_costs_only_the_connection(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            if peer is server.peers[0]:
                peer.send(Opcode.TEXT, b" " * (2**20 + 1))
            else:
                await say(peer, Connected(), TurnStart(), TurnEnd("Hey"))

        async with raw_server(talk) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.1))
            events = await until(ink, TurnEnd)
            (lost,) = [event for event in events if isinstance(event, Disconnected)]
            assert lost.code == 1009
            assert finals(events) == ["Hey"]


class TestSettings:
    async def test_thresholds_go_over_the_same_connection(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            await until(ink, Connected)
            ink.configure(TurnSettings(turn_eager_end_threshold=0.5))
            await ink.finish()
            assert [json.loads(text) for text in server.connections[0].received] == [
                {"type": "config", "turn": {"eager_end_threshold": 0.5}},
                {"type": "close"},
            ]
            assert ink.options.turn.turn_eager_end_threshold == 0.5

    async def test_what_is_rejected_is_taken_back(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            await until(ink, Connected)
            ink.configure(TurnSettings(turn_start_threshold=0.95))
            ink.send_audio(HELLO.audio())
            events = await until(ink, SettingsRejected)
            await ink.finish()
            events += await rest(ink)
            assert finals(events) == HELLO.transcripts
            assert ink.options.turn == TurnSettings()
            assert len(server.connections) == 2

    async def test_keyterms_take_a_new_connection_and_nothing_is_lost(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            events = await until(ink, Connected)
            ink.update_keyterms(["two people"])
            ink.send_audio(HELLO.audio())
            await ink.finish()
            events += await rest(ink)
            assert finals(events) == HELLO.transcripts
            assert [record.parameter("keyterm") for record in server.connections] == [
                None,
                "two people",
            ]
            assert not [event for event in events if isinstance(event, Disconnected)]


async def test_what_a_framework_reports_is_of_its_time_or_of_now() -> None:
    moments: list[Moment] = []

    class Observer:
        def on(self, moment: Moment) -> None:
            moments.append(moment)

    options = TurnsOptions(base_url="http://127.0.0.1:1")
    ink = InkTurnsClient(options, KEY, taps=[Observer()])
    ink.report(MomentKind.BOT_STARTED, at=5.0)
    ink.report(MomentKind.BOT_STOPPED)
    await ink.aclose()
    reported = {moment.kind: moment.time for moment in moments}
    assert reported[MomentKind.BOT_STARTED] == 5.0
    now = asyncio.get_running_loop().time()
    assert reported[MomentKind.BOT_STOPPED] == pytest.approx(now, abs=PATIENCE)


class TestAtOnce:
    """A session has a timer every half second; what the application says waits for none."""

    @pytest.mark.parametrize(
        ("call", "opcode"),
        [
            (lambda ink: ink.send_audio(PCM16.silence(0.1)), Opcode.BINARY),
            (lambda ink: None, Opcode.PING),
            (lambda ink: ink.configure(TurnSettings(turn_start_threshold=0.7)), Opcode.TEXT),
        ],
        ids=["audio", "ping", "settings"],
    )
    async def test_it_is_sent(self, call: Callable[[InkTurnsClient], None], opcode: Opcode) -> None:
        received: list[Opcode] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await say(peer, Connected())
            while True:
                received.append((await peer.receive())[0])

        async with raw_server(talk) as server, client(server.url) as ink:
            await until(ink, Connected)
            call(ink)
            await at_once(lambda: opcode in received)
            assert opcode in received

    async def test_the_connection_is_cut(self) -> None:
        ended: list[bool] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await say(peer, Connected())
            with contextlib.suppress(ConnectionError):
                await peer.reader.read()
            ended.append(True)

        async with raw_server(talk) as server, client(server.url) as ink:
            await until(ink, Connected)
            await ink.aclose()
            await at_once(lambda: ended)
            assert ended == [True]

    async def test_what_was_said_before_it_was_open_is_sent(self) -> None:
        received: list[Opcode] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            while True:
                received.append((await peer.receive())[0])

        async with raw_server(talk) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.1))
            async with asyncio.timeout(PATIENCE):
                while not ink.is_connected:
                    await asyncio.sleep(0)
            await at_once(lambda: Opcode.BINARY in received)
            assert Opcode.BINARY in received

    async def test_a_rejection_is_told(self) -> None:
        answered = asyncio.Event()

        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.answer("401 Unauthorized")
            answered.set()

        async with raw_server(talk) as server, client(server.url) as ink:
            waiting = asyncio.create_task(rest(ink))
            await answered.wait()
            await at_once(waiting.done)
            with pytest.raises(RejectedError):
                waiting.result()

    async def test_another_sample_rate_is_asked_for_and_the_same_one_is_not(self) -> None:
        ended: list[str] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await say(peer, Connected())
            with contextlib.suppress(ConnectionError):
                await peer.reader.read()
            ended.append(peer.request)

        async with raw_server(talk) as server, client(server.url) as ink:
            await until(ink, Connected)
            ink.set_sample_rate(16_000)
            assert ink.is_connected
            ink.set_sample_rate(8000)
            await at_once(lambda: ended)
            assert ended == [server.peers[0].request]
            async with asyncio.timeout(PATIENCE):
                while not ink.is_connected:
                    await asyncio.sleep(0.01)
            assert ["sample_rate=8000" in peer.request for peer in server.peers] == [False, True]


class TestTheEnd:
    async def test_finish_gives_the_last_words(self) -> None:
        script = Script("Hello there", lead_in=0.1)
        cut = PCM16.size(script.spans[0][1])  # in mid-turn
        async with InkServer(script) as server, client(server.url) as ink:
            ink.send_audio(script.audio()[:cut])
            await ink.finish()
            assert finals(await rest(ink)) == ["Hello there"]

    async def test_finish_asks_for_the_last_words_at_once(self) -> None:
        """It waits for no timer, of which a session has one every half second."""
        asked: list[bytes] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await say(peer, Connected())
            while not asked:
                opcode, content = await peer.receive()
                asked.extend([content] if opcode is Opcode.TEXT else [])
            peer.close(1000)

        async with raw_server(talk) as server, client(server.url) as ink:
            await until(ink, Connected)
            finishing = asyncio.create_task(ink.finish())
            await at_once(lambda: asked)
            assert asked == [b'{"type":"close"}']
            await finishing

    async def test_finish_is_bounded_when_close_is_ignored(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await say(peer, Connected(), TurnStart(), TurnUpdate("Hey you"))

        async with raw_server(talk) as server, client(server.url, resilience=ENDLESS) as ink:
            await until(ink, TurnUpdate)
            async with asyncio.timeout(PATIENCE):
                await ink.finish(timeout=0.1)
            assert finals(await rest(ink)) == ["Hey you"]

    async def test_finish_without_a_server_is_bounded_and_tells_the_gap(self) -> None:
        async with (
            raw_server(Peer.read_request) as server,
            client(server.url, resilience=ENDLESS) as ink,
        ):
            ink.send_audio(PCM16.silence(0.5))
            async with asyncio.timeout(PATIENCE):
                await ink.finish(timeout=0.1)
            snapshot = ink.snapshot()
            assert (snapshot.sent, snapshot.lost, snapshot.pending) == (0.0, 0.5, 0.0)

    async def test_leaving_the_block_is_at_once_and_ends_the_iteration(self) -> None:
        async with InkServer(HELLO) as server:
            async with client(server.url) as ink:
                reading = asyncio.create_task(rest(ink))
                await server.wait_for_connection()
            events = await reading
            assert all(isinstance(event, Connected) for event in events)
            await server.wait_until_idle()

    async def test_closing_twice_and_closing_what_never_started(self) -> None:
        ink = client("http://127.0.0.1:1")
        await ink.aclose()
        await ink.aclose()
        assert await rest(ink) == []
        await ink.finish()

    async def test_closing_while_connecting(self) -> None:
        async with raw_server(Peer.read_request) as server:
            ink = client(server.url)
            ink.start()
            await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE):
                await ink.aclose()
            other = client(server.url)
            other.start()
            while not server.peers:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(PATIENCE):
                await other.aclose()

    async def test_a_server_that_never_closes_its_socket_holds_up_nobody(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await say(peer, Connected())
            await go_on.wait()
            peer.close(1000)

        go_on = asyncio.Event()
        async with raw_server(talk) as server:
            ink = broad_client(server.url)
            await until(ink, Connected)
            await fill(ink)
            go_on.set()
            await until(ink, Disconnected)
            async with asyncio.timeout(PATIENCE):
                await ink.aclose()

    async def test_no_websocket_at_all_holds_up_nobody(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")

        async with raw_server(talk) as server:
            ink = client(server.url)
            ink.send_audio(PCM16.silence(0.1))
            await until(ink, ConnectFailed)
            async with asyncio.timeout(PATIENCE):
                await ink.aclose()

    async def test_tls_where_there_is_none(self) -> None:
        async with InkServer(HELLO) as server:
            ink = client(f"wss://127.0.0.1:{server.port}")
            ink.send_audio(PCM16.silence(0.1))
            await until(ink, ConnectFailed)
            await ink.aclose()


class TestBackpressure:
    async def test_audio_that_the_server_does_not_take_stays_in_the_replay_buffer(self) -> None:
        go_on = asyncio.Event()
        received = 0

        async def talk(peer: Peer) -> None:
            nonlocal received
            await peer.upgrade()
            await say(peer, Connected())
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            while not go_on.is_set():
                peer.send(Opcode.PONG, b"")  # alive, but busy
                await asyncio.sleep(0.1)
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            while data := await peer.reader.read(2**20):
                peer.send(Opcode.PONG, b"")
                received += len(data)

        async with raw_server(talk) as server, broad_client(server.url) as ink:
            await until(ink, Connected)
            await fill(ink)
            blocked = ink.snapshot()
            assert blocked.pending > 0
            assert blocked.sent + blocked.pending == pytest.approx(blocked.received)
            go_on.set()
            async with asyncio.timeout(PATIENCE):
                while ink.snapshot().pending:
                    await asyncio.sleep(0.01)
            assert ink.snapshot().connections == 1
            async with asyncio.timeout(PATIENCE):
                while received < BROAD.size(ink.snapshot().received):
                    await asyncio.sleep(0.01)
