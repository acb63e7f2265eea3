"""`cartesia-ink transcribe`: any recording in, verbatim turns out, one line for what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cartesia_ink_plugins.cli.main import main
from cartesia_ink_plugins.cli.recordings import open_recording
from cartesia_ink_plugins.cli.transcribe import Out, transcribe
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEnd
from cartesia_ink_plugins.demo import caller
from cartesia_ink_plugins.testing import InkServer, Script, Turn

SCRIPT = Script("Hello there.", "A table ... for two people.")
NAME = Path(caller.__file__).with_name("4_name.opus")


def write(path: Path, pcm: bytes, *, rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return path


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A recording of the script."""
    return write(tmp_path / "hello.wav", SCRIPT.audio())


async def turns_of(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    json: bool = False,
    script: Script = SCRIPT,
) -> str:
    """What is printed for a recording of a script."""
    async with InkServer(script) as server:
        monkeypatch.setenv("CARTESIA_BASE_URL", server.url)
        monkeypatch.setenv("CARTESIA_API_KEY", "any")
        out = Out(argparse.Namespace(json=json))
        await transcribe([open_recording(path)], live=True, keyterms=["table"], out=out)
        assert ("keyterm", "table") in server.connections[0].query
    return capsys.readouterr().out


async def test_turns_are_printed_verbatim(
    hello: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = await turns_of(hello, monkeypatch, capsys)
    assert printed == "Hello there.\n A table for two people.\n"


async def test_json_has_an_object_for_each_turn(
    hello: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = await turns_of(hello, monkeypatch, capsys, json=True)
    first, second = map(json.loads, printed.splitlines())
    assert first["file"] == str(hello)
    assert (first["turn"], second["turn"]) == (1, 2)
    assert second["transcript"] == " A table for two people."
    start, end = SCRIPT.spans[0]
    assert first["speech_start"] == pytest.approx(start, abs=0.3)
    assert first["speech_end"] == pytest.approx(end, abs=0.3)
    assert end < first["position"] < second["position"]


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg", "stereo.wav", "telephone.wav"])
async def test_any_file_will_do(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = Script(Turn("Hello there.", after=0.8))
    rate = 8_000 if name == "telephone.wav" else 16_000
    samples = AudioFormat(sample_rate=rate).decode(script.audio(AudioFormat(sample_rate=rate)))
    if name == "stereo.wav":
        samples = np.stack([samples, samples], axis=1)
    path = tmp_path / name
    soundfile.write(path, samples, rate)
    printed = await turns_of(path, monkeypatch, capsys, script=script)
    assert printed.strip() == "Hello there."


async def test_studio_rates_are_brought_down(tmp_path: Path) -> None:
    path = tmp_path / "studio.wav"
    soundfile.write(path, np.zeros(96_000, np.float32), 96_000)
    recording = open_recording(path)
    assert recording.sample_rate == 48_000
    assert sum(map(len, recording.frames())) / 2 / 48_000 == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"These are words, no audio.", "is not a supported audio file"),
        (b"", "is not a supported audio file"),
    ],
    ids=["missing", "text", "empty"],
)
def test_what_cannot_be_read_is_one_line_and_status_2(
    content: bytes | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    assert main(["transcribe", str(NAME), str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"cartesia-ink transcribe: {path}: ")
    assert why in line


def test_a_directory_and_a_file_without_audio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(tmp_path)]) == 2
    assert "directory" in capsys.readouterr().err
    assert main(["transcribe", str(write(tmp_path / "none.wav", b""))]) == 2
    assert "has no audio" in capsys.readouterr().err


def test_a_file_that_may_not_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path_open = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path == NAME:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return path_open(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert main(["transcribe", str(NAME)]) == 2
    assert capsys.readouterr().err == f"cartesia-ink transcribe: {NAME}: Permission denied\n"


def test_live_without_a_key_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--live", str(NAME)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "CARTESIA_API_KEY" in line


async def test_a_refusal_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with InkServer(SCRIPT, api_keys=["right"]) as server:
        environment = {
            **os.environ,
            "CARTESIA_BASE_URL": server.url,
            "CARTESIA_API_KEY": "wrong-key-of-mine",
        }
        process = await _start("--live", str(NAME), environment=environment)
        out, err = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert b"Traceback" not in err
    assert b"wrong-key-of-mine" not in err
    assert b"cartesia-ink transcribe: " in err


def test_a_server_that_is_away_is_told_once_and_what_it_costs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("CARTESIA_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("CARTESIA_API_KEY", "any")
    monkeypatch.setattr("cartesia_ink_plugins.cli.transcribe._DRAIN_SECONDS", 1.0)
    assert main(["transcribe", "--live", str(NAME)]) == 1
    begins, away, *_, lost = capsys.readouterr().err.splitlines()
    assert begins == f"{NAME}: 1.2 s"
    assert away == f"{NAME}: cannot connect: Connection refused; trying again"
    assert lost.endswith("s of audio were lost")


def test_a_decoder_does_not_complain_by_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    song = tmp_path / "song.mp3"
    song.write_text("No music.\n" * 1000)
    assert main(["transcribe", str(song)]) == 2
    assert capfd.readouterr().err == (
        f"cartesia-ink transcribe: {song}: is not a supported audio file\n"
    )


async def _start(*args: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cartesia_ink_plugins.cli.main", "transcribe", *args),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def test_the_local_server_hears_real_speech() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "cartesia_ink_plugins.cli.main", "transcribe", str(NAME)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "taylor" in result.stdout.lower()
    assert str(NAME) in result.stderr


def test_ctrl_c_leaves_nothing(hello: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cartesia_ink_plugins.cli.main", "transcribe", str(hello)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            assert str(hello) in process.stderr.readline()  # it plays
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=100)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err == ""


def test_progress_is_for_who_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = open_recording(NAME)
    out = Out(argparse.Namespace(json=False))
    out.progress(recording, 0.5, "My name")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    watched = Out(argparse.Namespace(json=False))
    watched.progress(recording, 0.5, "My name " * 40)
    line = capsys.readouterr().err
    assert line.startswith("\r\x1b[K4_name.opus  0.5 s of 1.2 s")
    assert len(line) < 90
    watched.end()
    assert capsys.readouterr().err == "\r\x1b[K"


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "\x9b2J", "\x1b]0;title\x07", "two\r\nlines"])
def test_a_transcript_does_nothing_to_a_terminal(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = open_recording(NAME)
    Out(argparse.Namespace(json=True)).turn(recording, TurnEnd(text), 0.0)
    line = capsys.readouterr().out
    assert line.rstrip("\n").isprintable()
    assert json.loads(line)["transcript"] == text
    Out(argparse.Namespace(json=False)).turn(recording, TurnEnd(text), 0.0)
    assert capsys.readouterr().out.rstrip("\n") == text  # a file gets it verbatim
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    Out(argparse.Namespace(json=False)).turn(recording, TurnEnd(text), 0.0)
    Out(argparse.Namespace(json=False)).error(text)
    printed = capsys.readouterr()
    assert printed.out.rstrip("\n").isprintable()
    assert printed.err.rstrip("\n").isprintable()


def test_frames_are_20_ms() -> None:
    recording = open_recording(NAME)
    frames = list(recording.frames())
    assert {len(frame) for frame in frames[:-1]} == {640}
