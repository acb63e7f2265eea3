"""Recordings of every kind: from pipes, of odd codecs and rates, damaged, cut and vanished."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cartesia_ink_plugins.cli import recordings
from cartesia_ink_plugins.cli.main import main
from cartesia_ink_plugins.cli.recordings import Recording, RecordingError, open_recording
from cartesia_ink_plugins.cli.transcribe import Out, transcribe
from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.testing import InkServer, Script, Turn

SCRIPT = Script(Turn("Hello there.", after=0.8))
RATE = 8_000
SPEECH = AudioFormat(sample_rate=RATE).decode(SCRIPT.audio(AudioFormat(sample_rate=RATE)))
NOISE = np.random.default_rng(0).normal(0, 0.001, 4 * RATE).astype(np.float32)


def write(path: Path, samples: Samples = SPEECH, rate: int = RATE, **options: Any) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def damage(path: Path, *, cut: bool) -> Path:
    """Cut a file in its last part, or write nonsense over that."""
    content = path.read_bytes()
    place = int(len(content) * 0.8)
    nonsense = b"" if cut else bytes(np.random.default_rng(1).integers(0, 256, 5000, np.uint8))
    path.write_bytes(content[:place] + nonsense)
    return path


async def turns(*opened: Recording, capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What is printed for recordings of the script, and what goes wrong, if anything."""
    async with InkServer(SCRIPT) as server:
        os.environ.update({"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any"})
        out = Out(argparse.Namespace(json=False))
        try:
            await transcribe(opened, live=True, keyterms=[], out=out)
            failure = ""
        except RecordingError as error:
            failure = str(error)
    captured = capfd.readouterr()
    # Each recording is announced in a line; a decoder says nothing by itself.
    assert len(captured.err.splitlines()) == len(server.connections), captured.err
    return captured.out, failure


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `turns` sets is taken back."""
    monkeypatch.setenv("CARTESIA_BASE_URL", "")
    monkeypatch.setenv("CARTESIA_API_KEY", "")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gsm.wav", {"subtype": "GSM610"}),
        ("g721.au", {"subtype": "G721_32"}),
        ("ima.wav", {"subtype": "IMA_ADPCM"}),
        ("named.raw", {"format": "WAV"}),
        ("named.mp3", {"format": "FLAC"}),
    ],
)
async def test_codecs_that_cannot_seek_and_names_that_say_nothing(
    name: str, options: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recording = open_recording(write(tmp_path / name, **options))
    assert await turns(recording, capfd=capfd) == ("Hello there.\n", "")


@pytest.mark.parametrize(
    ("name", "options", "cut", "complaint"),
    [
        ("cut.flac", {}, True, "is damaged after"),
        ("damaged.flac", {}, False, "is damaged after"),
        ("damaged.mp3", {"format": "MP3"}, False, ""),
        ("cut.mp3", {"format": "MP3"}, True, "ends after"),
    ],
)
async def test_what_comes_before_the_damage_is_printed(
    name: str,
    options: dict[str, Any],
    cut: bool,
    complaint: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path / name, np.concatenate([SPEECH, NOISE]), **options)
    recording = open_recording(damage(path, cut=cut))
    printed, failure = await turns(recording, capfd=capfd)
    assert printed == "Hello there.\n"
    assert failure.startswith(f"{path}: {complaint}")
    assert "\n" not in failure


async def test_a_file_that_vanishes_ends_the_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = write(tmp_path / "1.wav"), write(tmp_path / "2.wav")
    opened = [open_recording(first), open_recording(second)]
    second.unlink()
    printed, failure = await turns(*opened, capfd=capfd)
    assert printed == "Hello there.\n"
    assert failure == f"{second}: No such file or directory"


async def test_a_bug_while_playing_ends_the_command_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recording = open_recording(write(tmp_path / "1.wav"))
    frames = list(recording.frames())

    def broken(self: Recording) -> Iterator[bytes]:
        yield from frames
        raise ZeroDivisionError

    monkeypatch.setattr(Recording, "frames", broken)
    with pytest.raises(ZeroDivisionError):
        await turns(recording, capfd=capfd)
    assert capfd.readouterr().out == "Hello there.\n"


def test_damage_is_one_line_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = damage(write(tmp_path / "cut.flac", NOISE), cut=True)
    monkeypatch.setattr("cartesia_ink_plugins.cli.transcribe._TAIL_SECONDS", 0.0)
    assert main(["transcribe", str(path)]) == 1
    announced, failure = capfd.readouterr().err.splitlines()
    assert announced == f"{path}: 4.0 s"
    assert failure.startswith(f"cartesia-ink transcribe: {path}: is damaged after ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_silent(value: float, tmp_path: Path) -> None:
    """Warnings are errors in these tests."""
    samples = SPEECH.copy()
    samples[1000:1100] = value
    path = write(tmp_path / "odd.wav", np.stack([samples, samples], axis=1), subtype="FLOAT")
    pcm = np.frombuffer(b"".join(open_recording(path).frames()), "<i2")
    assert len(pcm) == len(samples)
    assert set(pcm[1000:1100]) == {32767 if np.isfinite(value) else 0}


@pytest.mark.parametrize(("rate", "played"), [(20, 8_000), (4_000, 8_000), (192_000, 48_000)])
def test_odd_rates_are_resampled_to_the_last_sample(rate: int, played: int, tmp_path: Path) -> None:
    samples = np.full(2 * rate, 0.25, np.float32)
    recording = open_recording(write(tmp_path / "odd.wav", samples, rate))
    assert recording.sample_rate == played
    assert len(b"".join(recording.frames())) // 2 == pytest.approx(2 * played, abs=2)


def test_a_file_that_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path: Path) -> None:
    """As `flac` writes it into a pipe."""
    path = write(tmp_path / "piped.flac", NOISE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    recording = open_recording(path)
    assert recording.seconds is None
    assert recording.length == "unknown length"
    assert len(b"".join(recording.frames())) == 2 * len(NOISE)


def test_an_inverted_channel_does_not_silence_a_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "inverted.wav", np.stack([SPEECH, -SPEECH], axis=1))
    pcm = np.frombuffer(b"".join(open_recording(path).frames()), "<i2")
    assert np.abs(pcm - SPEECH * 32768).max() <= 2


def test_a_fifo_is_read_whole(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content = write(tmp_path / "a.wav").read_bytes()
    writing = threading.Thread(target=fifo.write_bytes, args=(content,))
    writing.start()
    recording = open_recording(fifo)
    writing.join()
    assert len(b"".join(recording.frames())) == 2 * len(SPEECH)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_recording(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac")
    program = (
        "import sys; from pathlib import Path\n"
        "from cartesia_ink_plugins.cli.recordings import open_recording\n"
        "print(len(b''.join(open_recording(Path(sys.argv[1])).frames())))"
    )
    with subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as pipe:
        result = subprocess.run(
            [sys.executable, "-c", program, name], stdin=pipe.stdout, capture_output=True, text=True
        )
    assert result.stdout == f"{2 * len(SPEECH)}\n", result.stderr


def test_a_pipe_of_nonsense_or_without_end_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "cartesia_ink_plugins.cli.main", "transcribe", "-"]
    result = subprocess.run(command, input="no sound", capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "cartesia-ink transcribe: -: is not a supported audio file\n"
    monkeypatch.setattr(recordings, "_LARGEST_PIPE", 1 << 20)
    with pytest.raises(UsageError, match=r"^/dev/zero: gives more than"):
        open_recording(Path("/dev/zero"))


def test_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/\xff.wav")
    damage(write(tmp_path / "a.flac", NOISE), cut=True).rename(name)
    result = subprocess.run(
        [sys.executable, "-m", "cartesia_ink_plugins.cli.main", "transcribe", "--json", name],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    announced, failure = result.stderr.splitlines()
    assert announced == f"{tmp_path}/\\udcff.wav: 4.0 s"
    assert failure.startswith(f"cartesia-ink transcribe: {tmp_path}/\\udcff.wav: is damaged")


def test_waiting_for_a_pipe_can_be_interrupted() -> None:
    # As it is installed: an import before may wait for a pipe, too, and lose the exception.
    program = "import sys, _cartesia_ink; sys.exit(_cartesia_ink.main())"
    command = [sys.executable, "-c", program, "transcribe", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        with open(f"/proc/{process.pid}/wchan") as waits:
            while "pipe" not in waits.read():
                waits.seek(0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
