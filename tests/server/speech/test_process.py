"""The server in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time

import pytest

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnEnd, TurnsOptions
from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.demo.caller import LINES, recording
from cartesia_ink_plugins.server.speech import process as process_module
from cartesia_ink_plugins.server.speech.process import SpeechServer


async def test_it_hears_the_recorded_caller() -> None:
    line = next(line for line in LINES if line.name == "4_name")
    async with SpeechServer() as ink:
        options = TurnsOptions(base_url=ink.url)
        async with InkTurnsClient(options, Credentials(api_key="any")) as client:
            pcm = recording(line) + bytes(3 * 32_000)
            for start in range(0, len(pcm), 3200):
                client.send_audio(pcm[start : start + 3200])
                await asyncio.sleep(0.1)
            await client.finish(100.0)
            heard = "".join([e.transcript async for e in client if isinstance(e, TurnEnd)])
    assert "taylor" in heard.lower()


def test_it_leads_every_client_to_itself() -> None:
    with SpeechServer() as ink:
        environment = ink.environment()
        assert environment["CARTESIA_BASE_URL"].startswith("http://127.0.0.1:")
        assert environment["CARTESIA_API_KEY"]
    assert ink.url == ""
    ink.stop()


def test_it_ends_with_whoever_started_it() -> None:
    """Even one that was killed: the server notices that its standard input is closed."""
    program = (
        "import time\n"
        "from cartesia_ink_plugins.server.speech.process import SpeechServer\n"
        "ink = SpeechServer()\n"
        "ink.start()\n"
        "print(ink.url, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline().decode().rpartition(":")[2])
        assert _is_listening(port)
        starter.kill()
    deadline = time.monotonic() + 60
    while _is_listening(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_says_nothing_when_whoever_started_it_has_gone_before_it_was_ready() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cartesia_ink_plugins.server.speech.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


async def test_who_does_not_wait_for_it_leaves_nothing_behind() -> None:
    ink = SpeechServer()
    starting = asyncio.create_task(ink.__aenter__())
    while (process := ink._process) is None:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL


def test_it_says_why_it_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "__name__", "no_such_module_at_all")
    ink = SpeechServer()
    with pytest.raises(InkError, match="did not start"):
        ink.start()


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
