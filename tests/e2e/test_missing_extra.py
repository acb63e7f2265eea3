"""What an example says when what it needs is not installed, or not said."""

from __future__ import annotations

import os
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
    [
        "pipecat_bot.py",
        "twilio_bot.py",
        "push_to_talk_pipecat.py",
        "livekit_agent.py",
        "push_to_talk_livekit.py",
    ],
)
def test_a_missing_extra_is_said_in_one_line(example: str) -> None:
    command = [sys.executable, "-c", WITHOUT_FRAMEWORK, str(EXAMPLES / example)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "pip install 'cartesia-ink-plugins[examples]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("example", "command"), [("livekit_agent.py", "start"), ("push_to_talk_livekit.py", "dev")]
)
def test_a_livekit_server_that_nobody_named_is_asked_for(example: str, command: str) -> None:
    """The framework itself would show a traceback and end with status 0."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LIVEKIT_")}
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / example), command, "--url=ws://127.0.0.1:7880"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith(f"{example}: LIVEKIT_API_KEY, LIVEKIT_API_SECRET: not set")
