"""More than one machine's worth: two LiveKit servers joined by a real Redis, and their workers.

Workers are registered with one server, callers join through the other. Nothing of ours joins them:
a fleet is LiveKit's own, and each call has an Ink stream of its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.e2e.livekit.caller import RoomCaller
from tests.e2e.livekit.rig import LiveKitServer, Process, Worker, free_port
from tests.livekit.harness import until
from tests.needs import ROOT

pytestmark = [
    pytest.mark.needs("livekit-server"),
    pytest.mark.needs("redis-server"),
    pytest.mark.timeout(300),
]

REDISPATCH = ROOT / "examples" / "livekit_redispatch.py"
AGENT = ROOT / "tests" / "e2e" / "livekit" / "fleet_agent.py"
RATE = 24_000
ROOM = AudioFormat(sample_rate=RATE)
# An agent that has joined needs a moment to subscribe to the caller's track.
SCRIPT = Script("One.", Turn("Two.", gap=0.5), lead_in=3.0)
PCM = SCRIPT.audio(ROOM)
MIDDLE = ROOM.size(SCRIPT.spans[0][1] + 1.2)
FIRST, SECOND = PCM[:MIDDLE], PCM[MIDDLE:] + ROOM.silence(0.5)


@dataclass
class Fleet:
    """What a test drives."""

    workers: dict[str, Worker]
    door: LiveKitServer
    stack: AsyncExitStack

    async def call(self, room: str) -> tuple[RoomCaller, str]:
        """Let a caller in, and say who answered the first turn."""
        token = self.door.token(f"caller of {room}", room)
        caller = RoomCaller(self.door.url, token, sample_rate=RATE)
        await self.stack.enter_async_context(caller)
        await caller.meet()
        words = await caller.ask(FIRST, "heard: One.")
        return caller, words.split()[0]


@asynccontextmanager
async def fleet(folder: Path, names: Sequence[str], *, max_calls: int) -> AsyncIterator[Fleet]:
    """Start Redis, two servers, workers registered with the first, and who replaces lost agents."""
    redis = Process("redis", folder)
    port = free_port()
    await redis.spawn("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    async with AsyncExitStack() as stack:
        stack.push_async_exit(redis.__aexit__)
        await redis.until(lambda: "Ready to accept" in redis.text(), "was ready")
        ink = await stack.enter_async_context(InkServer(SCRIPT))
        hook = free_port()
        servers = [
            await stack.enter_async_context(
                LiveKitServer(
                    folder,
                    name=name,
                    redis=f"127.0.0.1:{port}",
                    webhook=f"http://127.0.0.1:{hook}/",
                )
            )
            for name in ("back", "front")
        ]
        redispatch = Process("redispatch", folder)
        stack.push_async_exit(redispatch.__aexit__)
        await redispatch.spawn(
            sys.executable, str(REDISPATCH), env=servers[0].environment() | {"PORT": str(hook)}
        )
        workers = [
            Worker(
                AGENT,
                servers[0],
                folder,
                name=name,
                command=["start"],
                env={
                    "CARTESIA_BASE_URL": ink.url,
                    "CARTESIA_API_KEY": "any",
                    "WORKER_NAME": name,
                    "MAX_CALLS": str(max_calls),
                },
            )
            for name in names
        ]
        await asyncio.gather(*(stack.enter_async_context(worker) for worker in workers))
        yield Fleet(dict(zip(names, workers, strict=True)), servers[1], stack)


async def test_calls_are_shared_out_and_a_drained_worker_finishes_its_own(tmp_path: Path) -> None:
    async with fleet(tmp_path, ["alpha", "beta"], max_calls=2) as running:
        calls = [await running.call(f"room {number}") for number in range(3)]
        answered_by = [name for _, name in calls]
        assert set(answered_by) == {"alpha", "beta"}, "neither takes more than two"

        drained = next(name for name in answered_by if answered_by.count(name) == 1)
        worker = running.workers[drained]
        worker.send(signal.SIGTERM)
        await worker.until(lambda: "draining" in worker.text(), "began to drain")
        caller = next(caller for caller, name in calls if name == drained)
        assert await caller.ask(SECOND, f"{drained} heard: Two.")


async def test_a_killed_workers_caller_is_picked_up_by_another(tmp_path: Path) -> None:
    """LiveKit does not send an agent again by itself: the example asks for one."""
    async with fleet(tmp_path, ["alpha", "beta"], max_calls=2) as running:
        caller, killed = await running.call("room")
        running.workers[killed].kill()
        # It takes the server a little less than half a minute to give its connection up.
        await until(lambda: not caller.agents, seconds=60.0)
        await caller.meet()
        [other] = running.workers.keys() - {killed}
        assert await caller.ask(ROOM.silence(2.0) + SECOND, f"{other} heard: Two.")
        assert len(caller.agents) == 1
