"""What careless and unlucky applications do to a client: it stays whole, and says what is wrong."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cartesia_ink_plugins import InkManualClient, InkTurnsClient, ManualOptions
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import ClosedError, RejectedError, UsageError
from cartesia_ink_plugins.core.events import (
    Connected,
    ConnectFailed,
    Event,
    TurnEnd,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.frames import Opcode
from cartesia_ink_plugins.testing import InkServer, Script
from tests.core.sockets import Peer, raw_server

KEY = Credentials(api_key="any")
PCM16 = AudioFormat()
HELLO = Script("Hello there.", "Two people please.", lead_in=0.1)
# The local server takes audio at any pace here, so that no test lasts as long as its audio.
HURRY = Resilience(catch_up_rate=1000.0)


@pytest.fixture(autouse=True)
async def _leaves_nothing() -> AsyncIterator[None]:
    """No test leaves a task or a socket: that would be a ResourceWarning, which is an error."""
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()


def client(url: str, credentials: Credentials = KEY, **options: Any) -> InkTurnsClient:
    return InkTurnsClient(TurnsOptions(base_url=url, **options), credentials, resilience=HURRY)


async def rest(ink: InkTurnsClient) -> list[Event]:
    return [event async for event in ink]


def finals(events: list[Event]) -> list[str]:
    return [event.transcript for event in events if isinstance(event, TurnEnd)]


async def silent(peer: Peer) -> None:
    """Take everything and say nothing."""
    await peer.upgrade()
    while True:
        await peer.receive()


class TestATokenProvider:
    @pytest.mark.parametrize("rubbish", [None, "", " \n", 17, b"token"])
    async def test_that_returns_no_token_fails_the_attempt_only(self, rubbish: Any) -> None:
        answers = [rubbish, "a token"]

        async def provider() -> Any:
            return answers.pop(0)

        async with InkServer(HELLO) as server:
            async with client(server.url, Credentials(token_provider=provider)) as ink:
                ink.send_audio(HELLO.audio())
                await ink.finish()
                failed, *events = await rest(ink)
            assert isinstance(failed, ConnectFailed)
            assert failed.reason == "cannot connect: token_provider: returned no token"
            assert finals(events) == HELLO.transcripts
            assert len(server.connections) == 1

    async def test_that_is_no_coroutine_function_fails_the_attempt_with_the_reason(self) -> None:
        provider: Any = lambda: "a token"  # noqa: E731
        async with (
            raw_server(silent) as server,
            client(server.url, Credentials(token_provider=provider)) as ink,
        ):
            failed = await anext(ink)
            assert isinstance(failed, ConnectFailed)
            assert failed.reason == "cannot connect: token_provider: must be an async function"

    async def test_that_closes_the_client_closes_it(self) -> None:
        async def provider() -> str:
            await ink.aclose()
            return "a token"

        async with raw_server(silent) as server:
            ink = client(server.url, Credentials(token_provider=provider))
            async with asyncio.timeout(30):
                assert await rest(ink) == []
            await ink.aclose()
            assert server.peers == []


class TestThreads:
    async def test_audio_from_another_thread_is_an_error_with_advice(self) -> None:
        async with raw_server(silent) as server, client(server.url) as ink:
            with pytest.raises(UsageError, match="call_soon_threadsafe"):
                await asyncio.to_thread(ink.send_audio, PCM16.silence(0.1))
            assert ink.snapshot().received == 0.0

    async def test_and_the_advice_is_good(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            loop = asyncio.get_running_loop()

            def speak() -> None:
                pcm = HELLO.audio()
                for at in range(0, len(pcm), 6400):
                    loop.call_soon_threadsafe(ink.send_audio, pcm[at : at + 6400])

            await asyncio.to_thread(speak)
            await ink.finish()
            assert finals(await rest(ink)) == HELLO.transcripts

    async def test_another_event_loop_is_an_error(self) -> None:
        raised: list[str] = []

        async def elsewhere() -> None:
            try:
                ink.send_audio(PCM16.silence(0.1))
            except UsageError as error:
                raised.append(str(error))

        async with raw_server(silent) as server, client(server.url) as ink:
            thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
            thread.start()
            await asyncio.to_thread(thread.join)
        assert raised == ["send_audio: the client belongs to another event loop"]

    def test_no_event_loop_at_all(self) -> None:
        with pytest.raises(UsageError, match="outside of its event loop"):
            InkTurnsClient(credentials=KEY).start()


class TestBeforeTheStart:
    async def test_what_is_asked_for_stands_in_the_first_url(self) -> None:
        async with InkServer(HELLO) as server:
            ink = client(server.url)
            ink.configure(TurnSettings(turn_end_threshold=0.2))
            ink.update_keyterms(["Cartesia"])
            assert ink.snapshot().connections == 0
            await asyncio.sleep(0)
            assert not server.connections
            async with ink:
                assert isinstance(await anext(ink), Connected)
            (record,) = server.connections
        assert record.parameter("keyterm") == "Cartesia"
        assert record.parameter("turn_end_threshold") == "0.2"
        assert record.received == []

    @pytest.mark.parametrize("end", [InkTurnsClient.finish, InkTurnsClient.aclose])
    async def test_the_end_is_at_once_and_nothing_connects(
        self, end: Callable[[InkTurnsClient], Awaitable[None]]
    ) -> None:
        async with raw_server(silent) as server:
            ink = client(server.url)
            await end(ink)
            ink.start()
            assert await rest(ink) == []
            with pytest.raises(ClosedError):
                ink.send_audio(PCM16.silence(0.1))
            assert server.peers == []


class TestAudio:
    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    async def test_a_buffer_that_is_used_again_is_no_harm(
        self, kind: Callable[[bytearray], bytearray | memoryview]
    ) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            buffer = bytearray(6400)
            pcm = HELLO.audio()
            for at in range(0, len(pcm), len(buffer)):
                piece = pcm[at : at + len(buffer)]
                buffer[: len(piece)] = piece
                ink.send_audio(kind(buffer)[: len(piece)])
            await ink.finish()
            assert finals(await rest(ink)) == HELLO.transcripts

    @pytest.mark.parametrize("pcm", [None, 640, "\0\0", [0, 0], 0.5])
    async def test_what_is_no_audio_is_an_error_that_names_it(self, pcm: Any) -> None:
        for ink in (
            client("http://127.0.0.1:1"),
            InkManualClient(ManualOptions(base_url="http://127.0.0.1:1"), KEY),
        ):
            async with ink:
                with pytest.raises(UsageError, match="pcm: must be bytes, not ") as refused:
                    ink.send_audio(pcm)
                assert str(refused.value).endswith(type(pcm).__name__)


class TestTheEnd:
    async def test_finishing_twice_at_once_is_finishing_once(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            ink.send_audio(HELLO.audio())
            await asyncio.gather(ink.finish(), ink.finish(), ink.finish(0.01))
            assert finals(await rest(ink)) == HELLO.transcripts
            (record,) = server.connections
            assert record.received == ['{"type":"close"}']

    async def test_closing_while_finishing_ends_both(self) -> None:
        async with raw_server(silent) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.1))
            finishing = asyncio.create_task(ink.finish())
            await asyncio.sleep(0)
            await ink.aclose()
            async with asyncio.timeout(30):
                await finishing

    async def test_who_stops_waiting_for_the_end_can_still_close(self) -> None:
        async with raw_server(silent) as server, client(server.url) as ink:
            ink.send_audio(PCM16.silence(0.1))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await ink.finish()
            with pytest.raises(ClosedError):
                ink.send_audio(PCM16.silence(0.1))

    async def test_finishing_while_connecting_sends_the_audio_received_meanwhile(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            ink.send_audio(HELLO.audio())
            assert not ink.is_connected
            await ink.finish()
            assert finals(await rest(ink)) == HELLO.transcripts

    async def test_closing_in_the_iteration_ends_it(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            ink.send_audio(HELLO.audio())
            events = []
            async for event in ink:
                events.append(event)
                if isinstance(event, TurnEnd):
                    await ink.aclose()
            assert finals(events)[:1] == HELLO.transcripts[:1]

    async def test_changes_behind_the_close_are_not_sent(self) -> None:
        async with raw_server(silent) as server, client(server.url) as ink:
            ink.start()
            while not ink.is_connected:
                await asyncio.sleep(0.01)
            finishing = asyncio.create_task(ink.finish(0.2))
            await asyncio.sleep(0.05)
            ink.configure(TurnSettings(turn_end_threshold=0.2))
            ink.update_keyterms(["Cartesia"])
            await finishing
            assert len(server.peers) == 1


class TestReaders:
    async def test_a_wait_that_is_cancelled_loses_no_event(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, encode(Connected()))
            for number in range(20):
                await asyncio.sleep(0.01)
                peer.send(Opcode.TEXT, encode(TurnStart()))
                peer.send(Opcode.TEXT, encode(TurnEnd(f"{number}")))

        async with raw_server(talk) as server, client(server.url) as ink:
            heard: list[str] = []
            while len(heard) < 20:
                try:
                    async with asyncio.timeout(0.004):
                        heard += finals([await anext(ink)])
                except TimeoutError:
                    continue
            assert heard == [f"{number}" for number in range(20)]

    async def test_two_share_the_events_and_both_come_to_the_end(self) -> None:
        async with InkServer(HELLO) as server, client(server.url) as ink:
            readers = [asyncio.create_task(rest(ink)) for _ in range(2)]
            ink.send_audio(HELLO.audio())
            await ink.finish()
            events = [event for part in await asyncio.gather(*readers) for event in part]
            assert sorted(finals(events)) == sorted(HELLO.transcripts)

    async def test_of_two_one_raises_the_rejection_and_the_other_ends(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.answer("401 Unauthorized", headers="X-Request-Id: r-17\r\n")

        async with raw_server(talk) as server, client(server.url) as ink:
            readers = [asyncio.create_task(rest(ink)) for _ in range(2)]
            results = await asyncio.gather(*readers, return_exceptions=True)
            (refused,) = [result for result in results if isinstance(result, RejectedError)]
            assert (refused.status, refused.request_id) == (401, "r-17")
            assert [] in results

    async def test_who_never_reads_has_no_heap_of_events(self) -> None:
        """Of each turn only what says most is kept; no final is lost."""

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, encode(Connected()))
            for _ in range(60):
                peer.send(Opcode.TEXT, encode(TurnStart()))
                for size in range(1, 101):
                    peer.send(Opcode.TEXT, encode(TurnUpdate("x" * size)))
                peer.send(Opcode.TEXT, encode(TurnEnd("x" * 100)))
                await peer.writer.drain()

        async with raw_server(talk) as server, client(server.url) as ink:
            while ink.snapshot().turns < 60:
                await asyncio.sleep(0.01)
            events: list[Event] = []
            while len(finals(events)) < 60:
                events.append(await anext(ink))
            assert finals(events) == ["x" * 100] * 60
            assert len(events) < 100 + 2 * 60 + 10


async def test_manual_keyterms_and_audio_are_as_robust() -> None:
    async with raw_server(silent) as server:
        ink = InkManualClient(ManualOptions(base_url=server.url), KEY)
        ink.update_keyterms(["Cartesia"])
        assert server.peers == []
        ink.send_audio(bytearray(640))
        with pytest.raises(UsageError, match="call_soon_threadsafe"):
            await asyncio.to_thread(ink.send_audio, bytes(640))
        assert "keyterm=Cartesia" in await server.requested()
        await ink.aclose()
