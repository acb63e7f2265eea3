"""A server that plays turns on the clock of the audio it is sent, as a script of its own.

Every side has the same work to do, however loaded the machine is: one message per 0.4 s of audio,
which is how fast words are spoken. No two connections get theirs in the same instant. The words of
a message are the times at which it was sent, so that a client knows how old it is.

The port is printed first. At the end of standard input, JSON is printed: for each connection that
named a keyterm, by keyterm, pairs of seconds of audio and of the monotonic time of its arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import count
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

EVENT_SECONDS = 0.4
"""Seconds of audio per message: 2.5 a second, as many as words are spoken."""
UPDATES_PER_TURN = 10
THINKING_SECONDS = 0.02
"""At most so many seconds after its audio a message is sent: events fall between two frames."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly, however many there are."""


class ClockServer:
    """Plays turns to every connection."""

    def __init__(self) -> None:
        """Begin with no connection."""
        self.arrivals: dict[str, list[tuple[float, float]]] = {}
        self._numbers = count()
        self._sending: set[asyncio.Task[None]] = set()

    async def handle(self, connection: ServerConnection) -> None:
        """Play turns to one connection until it is closed."""
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        byte_rate = 2 * int(query.get("sample_rate", ["16000"])[0])
        arrivals = self.arrivals.setdefault(query["keyterm"][0], []) if "keyterm" in query else None
        phase = next(self._numbers) * GOLDEN % 1
        player, received, events = turns(), 0, 0
        await connection.send(_message("connected"))
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                if isinstance(message, str):
                    break
                received += len(message)
                seconds = received / byte_rate
                if arrivals is not None:
                    arrivals.append((seconds, time.monotonic()))
                # The first event is late, not early: no turn may be open before all are connected.
                while seconds / EVENT_SECONDS >= events + 1 + phase:
                    events += 1
                    sending = asyncio.create_task(_send_soon(connection, player))
                    self._sending.add(sending)
                    sending.add_done_callback(self._sending.discard)


async def _send_soon(connection: ServerConnection, player: Iterator[str]) -> None:
    await asyncio.sleep(random.uniform(0.0, THINKING_SECONDS))
    with contextlib.suppress(ConnectionClosed):
        await connection.send(next(player))


def turns() -> Iterator[str]:
    """Messages of turns; the words of an update are the times at which each was added."""
    while True:
        yield _message("turn.start")
        words = ""
        for _ in range(UPDATES_PER_TURN):
            words += f" {time.monotonic_ns()}"
            yield _message("turn.update", transcript=words)
        yield _message("turn.eager_end", transcript=words)
        yield _message("turn.end", transcript=words)


def _message(kind: str, **fields: str) -> str:
    return json.dumps({"type": kind, **fields, "request_id": "bench"})


def _stay_awake(loop: asyncio.AbstractEventLoop) -> None:
    """Never sleep: on one machine, whoever sends pays for waking who receives."""
    loop.call_soon(_stay_awake, loop)


async def main(*, has_own_core: bool) -> None:
    """Serve until standard input ends."""
    if has_own_core:
        _stay_awake(asyncio.get_running_loop())
    clock = ClockServer()
    async with serve(clock.handle, "127.0.0.1", 0, compression=None) as server:
        sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    sys.stdout.write(json.dumps(clock.arrivals) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--has-own-core", action="store_true", help="never sleep")
    asyncio.run(main(has_own_core=parser.parse_args().has_own_core))
