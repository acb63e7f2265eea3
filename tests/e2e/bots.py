"""Start the bots of `examples/` as a newcomer does, with or without a server of one's own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
_START_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class RunningBot:
    """A bot that can be called.

    Attributes:
        url: Where its runner listens.
        process: Of the bot.
        log: All it says; done when it has ended.
        said: What it has said so far.
    """

    url: str
    process: asyncio.subprocess.Process
    log: asyncio.Task[bytes]
    said: bytearray


@asynccontextmanager
async def running_bot(
    example: str | Path = "pipecat_bot.py",
    *,
    transport: str = "webrtc",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningBot]:
    """Start a bot on a free port; what it logs is shown if the test fails.

    Args:
        example: The file in `examples/`, or any other by its whole path.
        transport: Of Pipecat's runner.
        environment: Variables to add, such as the address of an Ink server.
    """
    port = _free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "-t", transport)
    calls = tempfile.TemporaryDirectory()
    environment = {"INK_RECORD": calls.name, **(environment or {})}
    process = await _start(example, *where, environment=environment)
    assert process.stdout is not None
    said = bytearray()
    log = asyncio.create_task(_collect(process.stdout, said))
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_it_listens(url, process)
        yield RunningBot(url, process, log, said)
    except BaseException:
        await _end(process)
        print((await log).decode())
        raise
    finally:
        await _end(process)
        await log
        calls.cleanup()


async def run_example(example: str, *arguments: str, timeout: float = 60.0) -> tuple[int, str]:
    """Run an example that is to end by itself.

    Args:
        example: The file in `examples/`.
        *arguments: Of the command line.
        timeout: Seconds it may take.

    Returns:
        Its exit status and all it said.
    """
    process = await _start(example, *arguments)
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout)
    finally:
        await _end(process)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def _collect(output: asyncio.StreamReader, said: bytearray) -> bytes:
    while piece := await output.read(4096):
        said += piece
    return bytes(said)


async def _start(
    example: str | Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / example),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    # In order it would wait for its calls. The local Ink server that it started ends with it.
    if process.returncode is None:
        process.kill()
    await process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _until_it_listens(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as http:
        while True:
            assert process.returncode is None, "the bot did not start"
            try:
                async with http.get(f"{url}/client/"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
