"""`cartesia-ink timeline`: what it writes, where, and what it says of what is no recording."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cartesia_ink_plugins.cli.main import main
from tests.observe.timeline.planted import eventful_call


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return eventful_call().write(tmp_path / "call.ink")


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("html", "call.html"),
        ("perfetto", "call.perfetto.json"),
        ("audacity", "call.labels.txt"),
        ("webvtt", "call.vtt"),
        ("json", "call.timeline.json"),
    ],
)
def test_the_file_is_named_after_the_call_and_is_private(
    call: Path, capsys: pytest.CaptureFixture[str], format: str, name: str
) -> None:
    assert main(["timeline", "call.ink", "--format", format]) == 0
    assert capsys.readouterr().out.startswith(f"{name} (")
    assert Path(name).stat().st_size > 100
    assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600


def test_standard_output(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timeline", "call.ink", "--format", "json", "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "call.ink"


def test_half_a_surrogate_pair_is_written_escaped(call: Path) -> None:
    lines = call / "session.jsonl"
    lines.write_text(lines.read_text().replace("Hello <there>", "\\ud83d"))
    assert main(["timeline", "call.ink"]) == 0
    assert "\\ud83d" in Path("call.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["none.ink"], "none.ink: is no recording"),
        (["call.ink", "call.ink", "--format", "json"], "takes one call"),
        (["call.ink", "-o", "nowhere/call.html"], "nowhere/call.html: No such file"),
    ],
)
def test_bad_input_is_one_line(
    call: Path, capsys: pytest.CaptureFixture[str], args: list[str], told: str
) -> None:
    assert main(["timeline", *args]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("cartesia-ink timeline: ")
    assert told in line
