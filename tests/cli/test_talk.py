"""`cartesia-ink talk`: what it says when nobody can talk. Calls are in `tests/e2e/test_talk.py`."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cartesia_ink_plugins.cli.main import main


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that is said of bad input."""
    assert main(["talk", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("cartesia-ink talk: ")


def test_live_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert "CARTESIA_API_KEY" in said(capsys, "--live")


def test_a_place_to_save_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert said(capsys, "--save", str(nowhere / "call.wav")) == f"{nowhere}: no such directory"


def test_a_recording_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "order.wav"
    assert said(capsys, "--file", str(path)) == f"{path}: No such file or directory"
    path.write_text("not a sound")
    assert said(capsys, "--file", str(path)) == f"{path}: is not a supported audio file"


def test_a_recording_of_which_nothing_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "order.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[:200])  # the header, and no sound
    assert main(["talk", "--file", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cartesia-ink talk: {path}: is damaged after 0.0 s")


def test_sounddevice_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    line = said(capsys)
    assert line.startswith("sounddevice is missing: pip install")
    assert "--file" in line


class NoDevice(Exception):
    """As PortAudio says it."""


def no_device(**_: object) -> None:
    raise NoDevice("Error querying device -1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no microphone; to use recordings: --file FILE.wav"),
        (["--microphone", "headset"], "microphone 'headset': Error querying device -1"),
    ],
)
def test_no_such_microphone(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = types.SimpleNamespace(
        RawInputStream=no_device, RawOutputStream=no_device, PortAudioError=NoDevice
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert words in said(capsys, *arguments)
