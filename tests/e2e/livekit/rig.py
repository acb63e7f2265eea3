"""A LiveKit server and workers, each a real process on loopback.

What they log is shown when a test fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psutil  # type: ignore[import-untyped]
from livekit import api

from tests.needs import ROOT, livekit_server

KEY, SECRET = "devkey", "a-secret-that-is-long-enough-for-livekit"
_RTC_PORTS = 32
_START_SECONDS = 150.0
_STOP_SECONDS = 20.0
_TAIL = 80


class Process:
    """A process with a log file; stopped in order, or killed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self, *command: str, env: dict[str, str] | None = None) -> None:
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **(env or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    async def until(self, true: Callable[[], Any], what: str) -> None:
        """Wait until something is true, as long as the process lives.

        Raises:
            RuntimeError: It ended, or it took too long.
        """
        assert self._process
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not true():
                    if self._process.returncode is not None:
                        raise RuntimeError(f"{self.name} ended: {self.text()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise RuntimeError(f"{self.name}: never {what}: {self.text()}") from None

    def text(self) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])

    def costs(self) -> dict[int, tuple[float, float]]:
        """Processor seconds and megabytes of each process that it started, by process id."""
        assert self._process
        children = psutil.Process(self._process.pid).children(recursive=True)
        return {
            child.pid: (sum(child.cpu_times()[:2]), child.memory_info().rss / 1e6)
            for child in children
        }

    def send(self, signal_number: int) -> None:
        """Send a signal to the process alone."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal_number)

    def kill(self) -> None:
        """Kill the process and all its children at once."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end; kill it, and whatever it started, if it does not."""
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        self.kill()
        await self._process.wait()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            print(f"\n--- {self.name} ---\n{self.text()}")


class LiveKitServer(Process):
    """The real server, built from its Go module, on free ports of the loopback interface."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "server",
        redis: str | None = None,
        webhook: str | None = None,
    ) -> None:
        super().__init__(name, folder)
        self._redis = redis
        self._webhook = webhook
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What leads a worker to it."""
        return {"LIVEKIT_URL": self.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}

    def token(self, identity: str, room: str) -> str:
        """What lets a participant into a room."""
        grants = api.VideoGrants(room_join=True, room=room)
        return api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(grants).to_jwt()

    async def __aenter__(self) -> Self:
        program = livekit_server()
        assert program, 'mark the test with needs("livekit-server")'
        config = self.log.with_suffix(".json")
        config.write_text(json.dumps(self._config()))
        arguments = ["--config", str(config), "--node-ip", "127.0.0.1"]
        await self.spawn(str(program), *arguments)
        answered = asyncio.Event()
        asking = asyncio.create_task(self._ask(answered))
        try:
            await self.until(answered.is_set, "answered")
        except BaseException:
            await self.stop()
            raise
        finally:
            asking.cancel()
        return self

    async def _ask(self, answered: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{self.port}") as response:
                        if response.status == 200:
                            answered.set()
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    def _config(self) -> dict[str, Any]:
        """The server's configuration; it is YAML, of which JSON is a part."""
        first = free_udp_ports(_RTC_PORTS)
        config: dict[str, Any] = {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {
                "tcp_port": free_port(),
                "port_range_start": first,
                "port_range_end": first + _RTC_PORTS - 1,
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo"]},
            },
            "keys": {KEY: SECRET},
            "logging": {"level": "warn"},
        }
        if self._redis:
            config["redis"] = {"address": self._redis}
        if self._webhook:
            config["webhook"] = {"api_key": KEY, "urls": [self._webhook]}
        return config


class Worker(Process):
    """A worker process that runs an agent script."""

    def __init__(
        self,
        script: Path,
        server: LiveKitServer,
        folder: Path,
        *,
        name: str = "worker",
        command: Sequence[str] = ("dev", "--no-reload"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, folder)
        self._script = script
        self._server = server
        self._command = command
        self._env = env or {}

    async def __aenter__(self) -> Self:
        environment = {
            **self._server.environment(),
            "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
            **self._env,
        }
        await self.spawn(sys.executable, str(self._script), *self._command, env=environment)
        try:
            await self.until(lambda: "registered worker" in self.text(), "registered")
        except BaseException:
            await self.stop()
            raise
        return self


def free_port() -> int:
    """A TCP port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_udp_ports(count: int) -> int:
    """The first of so many neighbouring UDP ports that are free."""
    while True:
        first = random.randrange(20_000, 32_000, count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
