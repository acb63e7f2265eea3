"""`cartesia-ink demo` as `make demo` runs it: real speech, real frameworks, real time.

The whole call is held in Pipecat, and the first turns of it in LiveKit: the rest is the same call,
which `tests/demo/test_calls.py` holds in both with scripted words. There it is asserted how early
replies are ready, which depends on how busy the machine is; what is asserted here must hold on any.
"""

from __future__ import annotations

import subprocess
import sys
import wave
from datetime import date
from html import escape
from pathlib import Path

import numpy as np
import pytest

from cartesia_ink_plugins.demo.caller import expected_booking
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.model import build_timeline
from tests.e2e.test_ctrl_c import interrupted

# Long calls begin first.
pytestmark = pytest.mark.timeout(300)

PROGRAM = ["-m", "cartesia_ink_plugins.cli.main", "demo"]
MUST_HOLD = (
    "every line was played and recognized",
    "the booking has every fact right",
    "the table was booked once",
    "nothing was spoken before its turn.end",
)


def test_the_table_is_booked(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    result = subprocess.run(
        [sys.executable, *PROGRAM, "--save", str(path)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    for what in MUST_HOLD:
        assert f"\nok  {what}" in result.stdout, result.stdout
    for event in ("turn.start", "turn.eager_end", "turn.end"):
        assert event in result.stdout
    assert "Traceback" not in result.stderr
    _both_are_recorded(path)
    assert f"The timeline of the call is in {path.with_suffix('.html')}" in result.stdout
    _is_shown(path)


def test_the_caller_is_heard_and_answered_in_livekit(tmp_path: Path) -> None:
    party = f"For {expected_booking(date.today())['party_size']} people."
    command = [*PROGRAM, "--framework", "livekit", "--save", str(tmp_path / "call.wav")]
    status, shown = interrupted(command, lambda line: party in line)
    assert "turn.end" in shown
    assert "Traceback" not in shown
    assert status == 130


def _both_are_recorded(path: Path) -> None:
    with wave.open(str(path)) as file:
        assert file.getnchannels() == 2
        seconds = file.getnframes() / file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert 30 < seconds < 180
    for side in (0, 1):
        assert np.mean(np.abs(samples[:, side].astype(int)) > 500) > 0.05


def _is_shown(path: Path) -> None:
    """Beside the sound are the recording and its timeline."""
    page = path.with_suffix(".html").read_text("utf-8")
    turns = build_timeline(read_recording(path.with_suffix(".ink"))).turns
    assert len(turns) >= 5
    assert turns[0].text.strip()
    for turn in turns:
        assert escape(turn.text.strip()) in page
