"""`examples/plain_adapter.py`: a whole adapter in few lines, run and driven as it stands."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import wave
from pathlib import Path
from types import ModuleType

import numpy as np

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script
from tests.e2e.bots import EXAMPLES

EXAMPLE = EXAMPLES / "plain_adapter.py"
SCRIPT = Script("Good evening.", "A table for two ... please.")
RATE = 8000


def adapter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain_adapter", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_adapter"] = module
    spec.loader.exec_module(module)
    return module


def test_it_takes_at_most_120_lines() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 120


def stereo() -> bytes:
    mono = np.frombuffer(SCRIPT.audio(AudioFormat(sample_rate=RATE)), "<i2")
    return np.repeat(mono, 2).tobytes()


async def test_frames_of_another_rate_and_two_channels_become_turns() -> None:
    starts: list[None] = []
    finals: list[str] = []
    replies: list[str] = []
    async with InkServer(SCRIPT) as server:
        client = InkTurnsClient(TurnsOptions(base_url=server.url), Credentials(api_key="any"))
        turns = adapter().TurnAdapter(
            on_start=lambda: starts.append(None),
            on_text=lambda text, may_reply: replies.append(text) if may_reply else None,
            on_end=finals.append,
            client=client,
        )
        await turns.start()
        pcm, size = stereo(), RATE // 50 * 4
        for at in range(0, len(pcm), size):
            turns.push_frame(pcm[at : at + size], RATE, 2)
        billed = await turns.stop(30.0)
        await client.aclose()
        assert server.connections[-1].parameter("sample_rate") == str(RATE)
    assert finals == SCRIPT.transcripts
    assert len(starts) == len(finals)
    assert replies
    assert billed >= len(pcm) / (4 * RATE)


async def test_it_runs_from_the_shell(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "caller.wav"), "wb") as recording:
        recording.setnchannels(2)
        recording.setsampwidth(2)
        recording.setframerate(RATE)
        recording.writeframes(stereo())
    async with InkServer(SCRIPT) as server:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLE), "caller.wav"),
            cwd=tmp_path,
            env=os.environ | {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await program.communicate()
    assert program.returncode == 0, errors.decode()
    finals = [line for line in output.decode().splitlines() if line.startswith(">>> ")]
    assert [line.removeprefix(">>> ") for line in finals] == list(SCRIPT.transcripts)
