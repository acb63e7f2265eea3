"""`make livekit`: a call through a real LiveKit server to a real worker that runs the example."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from html import escape
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from cartesia_ink_plugins.demo.booking import make_booking
from cartesia_ink_plugins.demo.caller import expected_booking
from cartesia_ink_plugins.server.speech.process import ANY_KEY
from cartesia_ink_plugins.testing import InkServer, Script
from tests.demo.playing import caller, script
from tests.e2e.livekit import watch
from tests.e2e.livekit.again import Spoilt, held_again
from tests.e2e.livekit.caller import PATIENT
from tests.needs import ROOT

pytestmark = [pytest.mark.needs("livekit-server"), pytest.mark.timeout(540)]


@asynccontextmanager
async def watching(
    folder: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run it as the Makefile does; it saves the agent's voice in `agent.wav`.

    It begins without SIGINT, as what a shell runs in the background does.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", watch.__name__, "--save", str(folder / "agent.wav")),
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 30.0)


def runs(process: psutil.Process) -> bool:
    """Whether it still does anything: one that has ended waits until somebody takes note of it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def last_page(folder: Path) -> str:
    """The timeline of the last call; it may have been held again."""
    return max(folder.glob("*.html")).read_text("utf-8")


@held_again
async def test_a_caller_books_a_table_and_interrupts_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In coded speech, which is heard at once on any machine; the agent speaks as ever."""
    monkeypatch.setenv("CARTESIA_API_KEY", ANY_KEY)
    async with InkServer(script()) as ink:
        monkeypatch.setenv("CARTESIA_BASE_URL", ink.url)
        monkeypatch.setenv("INK_RECORD", str(tmp_path / "calls"))
        call = await watch.hold(tmp_path / "agent.wav", caller(timing=PATIENT))
    heard = [words for connection in ink.connections for words in connection.transcripts]
    assert call.own_words == heard
    if heard != script().transcripts:
        raise Spoilt(f"Ink heard: {heard}")

    # The reference is made of the facts: with another day, time, name or number it is another.
    reference = " ".join(make_booking(expected_booking(date.today()))["reference"])
    assert any(reference in words for words in call.agent_words)

    # "Wait, at eight o'clock." stopped it before it had read all back.
    assert not any("7:30" in words and "Shall I book it?" in words for words in call.agent_words)

    shown = last_page(tmp_path / "calls")
    assert all(escape(words.strip()) in shown for words in heard)

    assert call.seconds_of_agent > 5.0
    with wave.open(str(tmp_path / "agent.wav")) as file:
        assert file.getnframes() / file.getframerate() > call.seconds_of_agent


async def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    async with InkServer(Script()) as ink:
        environment = {
            "CARTESIA_BASE_URL": ink.url,
            "CARTESIA_API_KEY": ANY_KEY,
            "INK_RECORD": str(tmp_path),
        }
        async with watching(tmp_path, environment) as process:
            assert process.stdout
            async for line in process.stdout:
                if b"The caller joined" in line:
                    break
            started = psutil.Process(process.pid).children(recursive=True)
            assert len(started) >= 2
            process.send_signal(signal.SIGINT)
            # Caller, agent and server are asked to end, one after the other, with 20 s each.
            output, _ = await asyncio.wait_for(process.communicate(), 120.0)
            assert process.returncode == 130
            assert b"Traceback" not in output
            assert not [child for child in started if runs(child)]
    assert (tmp_path / "agent.wav").exists()


async def test_without_a_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    environment = {"INK_LIVEKIT_SERVER": "", "PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    async with watching(tmp_path, environment) as process:
        output, _ = await process.communicate()
    assert process.returncode == 2
    [line] = output.decode().splitlines()
    assert "go install github.com/livekit/livekit-server/cmd/server@" in line
