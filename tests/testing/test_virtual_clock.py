"""A virtual clock jumps where nothing can happen, and waits for what happens elsewhere."""

from __future__ import annotations

import asyncio
import datetime
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins.testing.virtual_clock import VirtualClock

EPOCH = 1_800_000_000.0
HOUR = 3600.0


async def test_an_hour_takes_no_time() -> None:
    began, loop = time.monotonic(), asyncio.get_running_loop()
    with VirtualClock(epoch=EPOCH):
        start = loop.time()
        assert time.time() == EPOCH
        await asyncio.sleep(HOUR)
        assert loop.time() - start == time.monotonic() - start == time.perf_counter() - start
        assert loop.time() - start == pytest.approx(HOUR)
        assert time.time() == datetime.datetime.now().timestamp() == pytest.approx(EPOCH + HOUR)
    assert time.monotonic() - began < HOUR


async def test_every_replay_has_the_same_times() -> None:
    times = []
    for _ in range(2):
        with VirtualClock(epoch=EPOCH):
            for _ in range(100):
                await asyncio.sleep(0.013)
            times.append((time.monotonic(), time.time()))
    assert times[0] == times[1]


async def test_readings_in_nanoseconds_differ() -> None:
    with VirtualClock(epoch=EPOCH):
        assert time.perf_counter_ns() < time.perf_counter_ns() < time.monotonic_ns()


async def test_timers_from_before_keep_their_distance() -> None:
    async with asyncio.timeout(5.0):
        with VirtualClock(epoch=EPOCH):
            await asyncio.sleep(4.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5.0):
            with VirtualClock(epoch=EPOCH):
                await asyncio.sleep(6.0)


async def test_the_clock_stands_still_for_a_job() -> None:
    order: list[str] = []
    released = threading.Event()

    async def job() -> None:
        assert await asyncio.to_thread(released.wait, 30.0)
        order.append("job")

    async def timer() -> None:
        await asyncio.sleep(HOUR)
        order.append("timer")

    with VirtualClock(epoch=EPOCH):
        threading.Timer(0.05, released.set).start()
        await asyncio.gather(timer(), job())
    assert order == ["job", "timer"]


async def test_other_threads_have_the_clock_of_the_machine() -> None:
    with VirtualClock(epoch=EPOCH):
        await asyncio.sleep(HOUR)
        there = await asyncio.to_thread(time.monotonic)
    assert abs(there - time.monotonic()) < HOUR


@contextmanager
def echo() -> Iterator[int]:
    """A server on a thread of its own, which takes a moment to answer; yields its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            connection = listener.accept()[0]
            with closing(connection):
                data = connection.recv(100)
                released.wait(0.05)
                connection.sendall(data)

        released = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


async def test_time_passes_as_outside_while_a_connection_leads_there() -> None:
    with echo() as port, VirtualClock(epoch=EPOCH):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        async with asyncio.timeout(20.0):
            assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        began = time.monotonic()
        await asyncio.sleep(HOUR)  # at once again: the connection is closed
        assert time.monotonic() - began == pytest.approx(HOUR)


async def test_a_server_in_the_same_loop_is_not_outside() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(5)
        await asyncio.sleep(HOUR)
        writer.write(data)
        writer.close()

    with VirtualClock(epoch=EPOCH):
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()


@pytest.mark.needs("uvloop>=0.20")
def test_another_kind_of_loop_is_rejected() -> None:
    import uvloop

    async def enter() -> None:
        VirtualClock(epoch=EPOCH)

    with pytest.raises(UsageError, match=r"asyncio.SelectorEventLoop, and this is uvloop.Loop"):
        uvloop.run(enter())
