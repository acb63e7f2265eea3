"""`examples/pipecat_bot.py`, started as a newcomer starts it and called over WebRTC."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cartesia_ink_plugins.demo.caller import LINES
from cartesia_ink_plugins.demo.journal import Happening
from tests.e2e.calling import web_call

BOT = Path(__file__).parent.parent.parent / "examples" / "pipecat_bot.py"


@asynccontextmanager
async def running_bot() -> AsyncIterator[str]:
    """Start the bot; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(BOT),
        *("--host", "127.0.0.1", "--port", str(port), "-t", "webrtc"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    log = asyncio.create_task(process.stdout.read())
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_it_listens(url, process)
        yield url
    except BaseException:
        process.terminate()
        print((await log).decode())
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await log


async def _until_it_listens(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            assert process.returncode is None, "the bot did not start"
            try:
                async with http.get(f"{url}/client/"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


@pytest.mark.timeout(180)
async def test_a_caller_is_greeted_and_understood() -> None:
    async with running_bot() as url, web_call(url, LINES[:2]) as call:
        await call.hold()
    heard = " ".join(call.texts("user-transcription")).lower()
    assert "table" in heard
    assert "six of us" in heard
    said = " ".join(call.texts("bot-transcription"))
    assert "For which day may I book?" in said
    assert "For how many people?" in said
    # The bot's track carries speech: a greeting, and an answer to each line.
    assert len(list(call.telephone.journal.of(Happening.BOT_SPEAKS))) >= 3
