"""`examples/plain_client.py`, run as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "plain_client.py"


def test_it_shows_the_turn_of_the_recorded_caller() -> None:
    result = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr
    kinds = [line.split(maxsplit=1)[0] for line in result.stdout.splitlines()]
    assert kinds[0] == "turn.start"
    assert kinds[-1] == "turn.end"
    assert "book a table" in result.stdout.splitlines()[-1].lower()


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "caller.wav"
    path.write_text("not a sound")
    result = subprocess.run(
        [sys.executable, str(EXAMPLE), str(path)], capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 1
    assert result.stderr == f"{path}: is no 16-bit mono WAV file that can be read\n"
