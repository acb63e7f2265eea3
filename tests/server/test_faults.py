"""Every fault, seen by a caller without resilience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import (
    NAMED_MESSAGES,
    Action,
    At,
    CloseAll,
    Deaf,
    Fault,
    Fin,
    HalfOpen,
    IgnoreClose,
    Join,
    Latency,
    NoPongs,
    Outage,
    Refuse,
    Reset,
    Say,
    Silence,
    Slice,
    Throttle,
)
from cartesia_ink_plugins.server.proxy import FaultProxy
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from tests.server.calling import PATIENCE, call, hear_all, kinds, read, say
from tests.server.listening import PCM16

SCRIPT = Script("alpha beta ... gamma", "delta")
RESET = (OSError, EOFError, InvalidMessage)


@asynccontextmanager
async def faulty(
    *faults: Fault, script: Script = SCRIPT, seed: int = 0
) -> AsyncIterator[InkServer]:
    rules = Rules(overload_seconds=None)
    async with InkServer(script, faults=faults, seed=seed, rules=rules) as server:
        yield server


async def conversation(server: InkServer, script: Script = SCRIPT) -> tuple[list[Any], int | None]:
    """Say everything and close; give the messages and the close code."""
    async with call(server.url) as websocket:
        await say(websocket, script.audio())
        with suppress(ConnectionClosed):
            await websocket.send('{"type":"close"}')
        return await hear_all(websocket), websocket.protocol.close_code


def struck(server: InkServer) -> list[Action]:
    assert server.proxy is not None
    return [strike.action for strike in server.proxy.injected]


async def until_struck(server: InkServer) -> None:
    async with asyncio.timeout(PATIENCE):
        while not struck(server):
            await asyncio.sleep(0.005)


async def hangs(doing: Awaitable[object], server: InkServer) -> None:
    """Check that something has come to no end a moment after the fault has struck."""
    task = asyncio.ensure_future(doing)
    await until_struck(server)
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_a_strike_the_proxy_changes_nothing() -> None:
    async with faulty(Fault(Reset(), At("turn.end", 99))) as server:
        messages, code = await conversation(server)
    assert kinds(messages)[:3] == ["connected", "turn.start", "turn.update"]
    assert [m["transcript"] for m in messages if m["type"] == "turn.end"] == SCRIPT.transcripts
    assert code == 1000
    assert server.connections[0].close_code == 1000


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429, 500, 503])
async def test_refuse(status: int) -> None:
    async with faulty(Fault(Refuse(status, retry_after=2))) as server:
        with pytest.raises(InvalidStatus) as refused:
            await call(server.url)
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["Retry-After"] == "2"
        async with call(server.url) as websocket:
            assert read(await websocket.recv())["type"] == "connected"


async def test_faults_strike_as_often_as_they_say() -> None:
    async with faulty(Fault(Refuse(503), times=2), Fault(Refuse(401), connection=3)) as server:
        for status in (503, 503, None, 401, None):
            try:
                async with call(server.url):
                    assert status is None
            except InvalidStatus as refused:
                assert refused.response.status_code == status


async def test_reset_before_the_upgrade() -> None:
    async with faulty(Fault(Reset())) as server:
        with pytest.raises(RESET):
            await call(server.url)


async def test_a_handshake_that_hangs_and_one_that_is_slow() -> None:
    async with faulty(Fault(Silence()), Fault(Silence(0.2), connection=1)) as server:
        await hangs(call(server.url), server)
        started = time.monotonic()
        async with call(server.url) as websocket:
            assert read(await websocket.recv())["type"] == "connected"
        assert time.monotonic() - started >= 0.2


async def test_connected_never_comes_or_comes_late() -> None:
    late = Fault(Silence(0.2), At("upgrade"), connection=1)
    async with faulty(Fault(Silence(), At("upgrade"), connection=0), late) as server:
        async with call(server.url) as websocket:
            await hangs(websocket.recv(), server)
        started = time.monotonic()
        async with call(server.url) as websocket:
            assert read(await websocket.recv())["type"] == "connected"
            assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013])
async def test_close_codes(code: int) -> None:
    async with faulty(Fault(Close(code), At("turn.update", 2))) as server:
        messages, got = await conversation(server)
    assert got == code
    assert kinds(messages) == ["connected", "turn.start", "turn.update", "turn.update"]


@pytest.mark.parametrize("action", [Reset(), Fin()])
async def test_a_drop_without_a_close_frame(action: Action) -> None:
    async with faulty(Fault(action, At("turn.eager_end"))) as server:
        async with call(server.url) as websocket:
            await say(websocket, SCRIPT.audio())
            messages = await hear_all(websocket)
            assert websocket.protocol.close_code == 1006
        await server.wait_until_idle()
    if action == Fin():
        # A reset may also destroy what had been sent before it.
        assert kinds(messages)[-1] == "turn.eager_end"
    assert server.connections[0].close_code == 1006


async def test_a_drop_just_before_a_message() -> None:
    async with faulty(Fault(Fin(), At("turn.end", before=True))) as server:
        messages, _ = await conversation(server)
    assert kinds(messages)[-1] == "turn.eager_end"


async def test_a_drop_at_a_byte() -> None:
    async with faulty(Fault(Reset(), At("bytes", 7001))) as server:
        async with call(server.url) as websocket:
            await say(websocket, SCRIPT.audio())
            await hear_all(websocket)
        await server.wait_until_idle()
    # The frame that was cut never became one: only whole frames reach the server.
    assert server.connections[0].audio_bytes == 6400


async def test_a_drop_at_a_place_of_the_audio_and_a_moment_later() -> None:
    async with faulty(Fault(Reset(), At("audio", 0.5, delay=0.1))) as server:
        async with call(server.url) as websocket:
            await say(websocket, PCM16.silence(0.4))
            started = time.monotonic()
            await say(websocket, PCM16.silence(0.1))
            await hear_all(websocket)
            assert time.monotonic() - started >= 0.1
        assert struck(server) == [Reset()]


async def test_a_drop_at_a_time() -> None:
    async with faulty(Fault(Reset(), At("seconds", 0.1), times=2)) as server:
        for _ in range(2):
            started = time.monotonic()
            async with call(server.url) as websocket:
                await hear_all(websocket)
                assert time.monotonic() - started >= 0.1
        async with call(server.url) as websocket:
            await asyncio.sleep(0.15)
            await websocket.ping()


async def test_silence_in_a_turn_still_answers_pings() -> None:
    async with (
        faulty(Fault(Silence(), At("turn.start"))) as server,
        call(server.url) as websocket,
    ):
        await say(websocket, SCRIPT.audio())
        await until_struck(server)
        async with asyncio.timeout(PATIENCE):
            await (await websocket.ping())
        for kind in ("connected", "turn.start"):
            assert read(await websocket.recv())["type"] == kind
        await hangs(websocket.recv(), server)
        websocket.transport.abort()


async def test_after_a_silence_comes_what_was_held_back() -> None:
    async with (
        faulty(Fault(Silence(0.3), At("turn.start"))) as server,
        call(server.url) as websocket,
    ):
        started = time.monotonic()
        await say(websocket, SCRIPT.audio())
        first = [read(await websocket.recv()) for _ in range(3)]
        assert time.monotonic() - started >= 0.3
        assert kinds(first) == ["connected", "turn.start", "turn.update"]


@pytest.mark.parametrize("action", [NoPongs(), HalfOpen(), Silence(pongs=False), Deaf()])
async def test_pings_are_not_answered(action: Action) -> None:
    async with faulty(Fault(action, At("connected"))) as server, call(server.url) as websocket:
        await websocket.recv()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await (await websocket.ping())
        websocket.transport.abort()


async def test_without_pongs_all_else_works() -> None:
    async with faulty(Fault(NoPongs(), At("connected"))) as server:
        messages, code = await conversation(server)
    assert [m["transcript"] for m in messages if m["type"] == "turn.end"] == SCRIPT.transcripts
    assert code == 1000


async def test_half_open_is_silent_in_both_directions_for_ever() -> None:
    async with faulty(Fault(HalfOpen(), At("turn.start"))) as server:
        async with call(server.url) as websocket:
            await say(websocket, SCRIPT.audio())
            with pytest.raises(TimeoutError):
                await hear_all(websocket, 0.3)
            websocket.transport.abort()
        assert server.connections[0].is_open


async def test_a_deaf_server_makes_sending_stall() -> None:
    async with faulty(Fault(Deaf(), At("connected"))) as server, call(server.url) as websocket:
        await websocket.recv()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await websocket.send(bytes(1 << 20))
        websocket.transport.abort()


async def test_a_server_that_was_deaf_hears_what_was_sent_meanwhile() -> None:
    async with faulty(Fault(Deaf(0.2), At("connected"))) as server:
        messages, _ = await conversation(server)
    assert [m["transcript"] for m in messages if m["type"] == "turn.end"] == SCRIPT.transcripts


async def test_latency_delays_both_directions_and_keeps_the_order() -> None:
    async with (
        faulty(Fault(Latency(0.1, 0.05), At("connected"))) as server,
        call(server.url) as websocket,
    ):
        await websocket.recv()
        started = time.monotonic()
        await (await websocket.ping())
        assert time.monotonic() - started >= 0.2
        await say(websocket, SCRIPT.audio())
        await websocket.send('{"type":"close"}')
        messages = await hear_all(websocket)

    assert [m["transcript"] for m in messages if m["type"] == "turn.end"] == SCRIPT.transcripts


async def test_a_throttled_link_carries_so_much_and_no_more() -> None:
    async with (
        faulty(Fault(Throttle(32_000), At("connected"))) as server,
        call(server.url) as websocket,
    ):
        await websocket.recv()
        started = time.monotonic()
        await say(websocket, bytes(16_000))
        await (await websocket.ping())
        assert time.monotonic() - started >= 0.5


async def test_messages_in_slices_are_the_same_messages() -> None:
    async with faulty(Fault(Slice(3), At("connect"))) as server:
        messages, code = await conversation(server)
    assert [m["transcript"] for m in messages if m["type"] == "turn.end"] == SCRIPT.transcripts
    assert code == 1000


async def test_messages_can_be_joined() -> None:
    """Messages that were apart come together: in one segment, or so close that it is the same."""
    async with (
        faulty(Fault(Join(1.0), At("connected"))) as server,
        call(server.url) as websocket,
    ):
        await websocket.recv()
        segments: list[bytes] = []
        receive = websocket.data_received

        def note(data: bytes) -> None:
            segments.append(data)
            receive(data)

        websocket.data_received = note  # type: ignore[method-assign]
        for start, end in ((0.0, 0.5), (0.5, 0.65), (0.65, 0.8)):
            await say(websocket, SCRIPT.audio()[PCM16.size(start) : PCM16.size(end)])
            await asyncio.sleep(0.02)
        for _ in range(3):
            await websocket.recv()
        assert len(segments) <= 2, "the second may have begun in between"


@pytest.mark.parametrize("name", NAMED_MESSAGES)
async def test_everything_that_can_be_said_wrongly(name: str) -> None:
    fault = Fault(Say(name), At("turn.start"))
    async with faulty(fault) as server, call(server.url) as websocket:
        await websocket.recv()
        await say(websocket, SCRIPT.audio()[: PCM16.size(0.55)])
        assert read(await websocket.recv())["type"] == "turn.start"
        for line in NAMED_MESSAGES[name]:
            if isinstance(line, Close):
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == line.code
                return
            got = await websocket.recv()
            if isinstance(line, str | bytes):
                assert got == line
            else:
                assert read(got)["type"] == line.type  # type: ignore[union-attr]
                assert read(got)["request_id"] == server.connections[0].request_id
        assert read(await websocket.recv())["type"] == "turn.update"


async def test_close_can_be_ignored() -> None:
    async with faulty(Fault(IgnoreClose(), At("connected"))) as server:
        async with call(server.url) as websocket:
            await websocket.send('{"type":"close"}')
            with pytest.raises(TimeoutError):
                await hear_all(websocket, 0.2)
        assert server.connections[0].received == []


async def test_a_drop_when_the_client_closes() -> None:
    async with faulty(Fault(Fin(), At("close", before=True))) as server:
        messages, code = await conversation(server)
        assert code == 1006
        assert kinds(messages)[0] == "connected"
    assert server.connections[0].received == []


async def test_a_deploy_closes_all_streams_at_once() -> None:
    deploy = Fault(CloseAll(1012), At("turn.start"), connection=2)
    async with faulty(deploy) as server:
        sockets = [await call(server.url) for _ in range(3)]
        for websocket in sockets:
            await websocket.recv()
        await say(sockets[2], SCRIPT.audio())
        for websocket in sockets:
            await hear_all(websocket)
            assert websocket.protocol.close_code == 1012
        async with call(server.url) as websocket:
            await websocket.recv()


@pytest.mark.parametrize(
    ("status", "answer"), [(0, ConnectionRefusedError), (-1, TimeoutError), (503, InvalidStatus)]
)
async def test_an_outage_breaks_everything(status: int, answer: type[Exception]) -> None:
    async with faulty(Fault(Outage(60, status), At("turn.start"))) as server:
        async with call(server.url) as websocket:
            await say(websocket, SCRIPT.audio())
            await hear_all(websocket)
            assert websocket.protocol.close_code == 1006
        with pytest.raises(answer):
            async with asyncio.timeout(0.2 if status == -1 else PATIENCE):
                await call(server.url)


@pytest.mark.parametrize("status", [0, -1, 503])
async def test_an_outage_passes(status: int) -> None:
    async with faulty(Fault(Outage(0.3, status), At("turn.start"))) as server:
        async with call(server.url) as websocket:
            await say(websocket, SCRIPT.audio())
            await hear_all(websocket)
        async with asyncio.timeout(PATIENCE):
            while True:
                await asyncio.sleep(0.1)
                with suppress(OSError, InvalidStatus):
                    async with asyncio.timeout(0.5), call(server.url) as websocket:
                        assert read(await websocket.recv())["type"] == "connected"
                        return


async def test_faults_can_be_struck_by_hand_and_come_in_combination() -> None:
    async with (
        faulty(
            Fault(Slice(2)),
            Fault(Latency(0.02), At("connected")),
            Fault(Say("malformed"), At("turn.update", 1)),
            Fault(Say("unknown-type"), At("turn.update", 1)),
        ) as server,
        call(server.url) as websocket,
    ):
        await say(websocket, SCRIPT.audio())
        messages: list[Any] = []
        while "turn.resume" not in kinds(messages):
            messages.append(read(await websocket.recv()))
        assert NAMED_MESSAGES["malformed"][0] in messages
        assert "turn.sentiment" in kinds(messages)
        assert server.proxy is not None
        server.proxy.inject(Close(1013))
        await hear_all(websocket)
        assert websocket.protocol.close_code == 1013


async def test_the_proxy_stands_in_front_of_any_server() -> None:
    async with (
        InkServer(SCRIPT, api_keys=["key-123"]) as server,
        FaultProxy(server.url, [Fault(Reset(), At("turn.end"))]) as proxy,
        call(proxy.url) as websocket,
    ):
        await say(websocket, SCRIPT.audio())
        await hear_all(websocket)
        assert websocket.protocol.close_code == 1006
        assert [strike.action for strike in proxy.injected] == [Reset()]
        assert len(proxy.connected_at) == 1
        # A server behind a balancer is found by its name.
        assert server.connections[0].headers["host"] == f"127.0.0.1:{server.port}"


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    async with InkServer(SCRIPT) as gone:
        url = gone.url
    async with FaultProxy(url) as proxy:
        with pytest.raises(RESET):
            await call(proxy.url)


async def test_the_same_seed_gives_the_same_story() -> None:
    async def story(seed: int) -> Sequence[float]:
        fault = Fault(Silence(0.05), At("turn.update", delay=0.01, spread=0.2))
        async with faulty(fault, seed=seed) as server:
            async with call(server.url) as websocket:
                await say(websocket, SCRIPT.audio())
                await until_struck(server)
            assert server.proxy is not None
            return [server.proxy.plan.random.random()]

    assert await story(1) == await story(1) != await story(2)


async def test_nothing_is_left_behind() -> None:
    before = asyncio.all_tasks()
    async with faulty(Fault(HalfOpen(), At("connected")), Fault(Outage(60), At("close"))) as server:
        dead, alive = await call(server.url), await call(server.url)
        await dead.recv()
        await alive.recv()
        await alive.send('{"type":"close"}')
        await hear_all(alive)
    await hear_all(dead)
    sockets: list[ClientConnection] = [dead, alive]
    for websocket in sockets:
        await websocket.wait_closed()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
