"""What an example says when what it needs is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.bots import EXAMPLES

WITHOUT_FRAMEWORK = """
import runpy, sys
sys.modules["pipecat"] = sys.modules["livekit"] = None
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize(
    "example",
    ["pipecat_bot.py", "twilio_bot.py", "push_to_talk_pipecat.py", "push_to_talk_livekit.py"],
)
def test_a_missing_extra_is_said_in_one_line(example: str) -> None:
    command = [sys.executable, "-c", WITHOUT_FRAMEWORK, str(EXAMPLES / example)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "pip install 'cartesia-ink-plugins[examples]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
