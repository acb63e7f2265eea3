"""`cartesia-ink talk`: with recordings, and with a microphone and loudspeakers through PortAudio.

Ink's side is the script engine, so the words are certain; everything else is what people get.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.model import build_timeline
from cartesia_ink_plugins.testing import InkServer, Script
from tests.e2e.sound import virtual_sound

SCRIPT = Script("A table for next Friday, please.", "For two people.")

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def talking(
    server: InkServer, *arguments: str, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[asyncio.subprocess.Process]:
    key = {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any", "PYTHONUNBUFFERED": "1"}
    folder = (
        tempfile.TemporaryDirectory()
    )  # where a timeline is written that nobody has a place for
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartesia_ink_plugins.cli.main", "talk", "--live", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, **key},
        cwd=folder.name,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        folder.cleanup()


def lines() -> list[bytes]:
    """The sound of each line of the script."""
    pcm = SCRIPT.audio()
    sizes = [tuple(AudioFormat().size(second) for second in span) for span in SCRIPT.spans]
    return [pcm[start:end] for start, end in sizes]


def write(path: Path, pcm: bytes) -> str:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(pcm)
    return str(path)


def loudness(samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> float:
    """How much of it is sound."""
    return float(np.mean(np.abs(samples.astype(int)) > 500)) if samples.size else 0.0


async def test_recordings_are_said_and_answered(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.wav", pcm) for n, pcm in enumerate(lines())]
    call = tmp_path / "call.wav"
    arguments = ("--framework", "livekit", "--save", str(call), "--file", *files)
    async with InkServer(SCRIPT) as server, talking(server, *arguments) as process:
        out, err = (text.decode() for text in await process.communicate())
    assert (process.returncode, err) == (0, "")
    for words in (*SCRIPT.transcripts, "For how many people?", "At what time?"):
        assert words.strip() in " ".join(out.split())
    with wave.open(str(call)) as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert loudness(both[:, 0]) > 0.05
    assert loudness(both[:, 1]) > 0.05
    page = call.with_suffix(".html")
    assert f"The timeline of the call is in {page}," in " ".join(out.split())
    turns = build_timeline(read_recording(call.with_suffix(".ink"))).turns
    assert [turn.text for turn in turns] == SCRIPT.transcripts
    assert all(escape(turn.text.strip()) in page.read_text("utf-8") for turn in turns)


async def test_what_can_be_read_of_a_damaged_recording_is_said(tmp_path: Path) -> None:
    """Then the call is summed up, and what was wrong is said in one line."""
    first, gone = tmp_path / "first.flac", tmp_path / "gone.flac"
    samples = np.frombuffer(lines()[0], "<i2")
    noise = np.random.default_rng(0).integers(-9, 10, 64_000, np.int16)
    soundfile.write(first, np.concatenate([samples, noise]), 16_000)
    content = first.read_bytes()
    first.write_bytes(content[: int(len(content) * 0.8)])
    gone.write_bytes(content[:200])  # the header, and no sound
    arguments = ("--file", str(first), str(gone))
    async with InkServer(SCRIPT) as server, talking(server, *arguments) as process:
        out, err = (text.decode() for text in await process.communicate())
    assert process.returncode == 1
    assert SCRIPT.transcripts[0].strip() in " ".join(out.split())
    [failure] = err.splitlines()
    assert failure.startswith(f"cartesia-ink talk: {first}: is damaged after ")


async def shows(process: asyncio.subprocess.Process, words: str) -> None:
    """Wait until a line with these words is shown."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            print(line, end="")  # for a test that fails
            if words in line:
                return
    raise AssertionError(f"it ended without {words!r}")


@pytest.mark.needs("pulseaudio")
async def test_a_person_talks_interrupts_and_hangs_up(tmp_path: Path) -> None:
    """A busy machine drops some of the sound between the programs, so words are not asserted."""
    async with (
        InkServer(SCRIPT) as server,
        virtual_sound(tmp_path) as sound,
        sound.listening() as heard,
        talking(server, environment=sound.environment) as process,
    ):
        await shows(process, "is audible")
        heard.clear()
        async with asyncio.timeout(60):
            while loudness(np.frombuffer(bytes(heard[: len(heard) // 2 * 2]), "<i2")) < 0.05:
                await asyncio.sleep(0.05)
        await sound.say(lines()[0])
        await shows(process, "turn.start")
        await shows(process, "was interrupted")
        await shows(process, "turn.end")
        await shows(process, "is audible")
        process.send_signal(signal.SIGINT)
        rest, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert "heard" in rest.decode()
    assert "Traceback" not in err.decode()
