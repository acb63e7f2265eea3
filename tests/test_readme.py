"""The README fits on a few screens, and what it shows works."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import wave
from pathlib import Path

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script
from tests.needs import ROOT

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
MAX_LINES = 170


def first_screen() -> str:
    """What is seen without scrolling: up to the first heading below the title."""
    return TEXT.split("\n## ")[0]


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= MAX_LINES


def test_the_first_screen_starts_every_kind_of_user() -> None:
    for must in ("pip install", "InkTurnsSTTService", "ink.STT()", "InkTurnsClient", "make demo"):
        assert must in first_screen()
    assert '"turn_detection": "stt"' in first_screen()


def test_every_page_of_the_documentation_is_linked() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in TEXT, page.name


def held(constraints: str, package: str) -> str:
    """The version of a package in a constraints file."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / constraints).read_text("utf-8"), re.MULTILINE)
    assert found, package
    return found[1]


def test_it_says_with_which_versions_the_tests_are_run() -> None:
    """`Tested with Pipecat vX` is what Pipecat asks of a community integration."""
    text = " ".join(TEXT.split())
    pipecat, livekit = (
        [held(file, package) for file in ("constraints-floors.txt", "constraints.txt")]
        for package in ("pipecat-ai", "livekit-agents")
    )
    assert f"Tested with Pipecat v{pipecat[0]} and v{pipecat[1]}" in text
    assert f"LiveKit Agents v{livekit[0]}, v{livekit[1]}" in text


def test_it_has_what_else_pipecat_asks_of_a_community_integration() -> None:
    for must in (
        "pip install",
        "in Pipeline([",
        "python examples/pipecat_foundational.py",
        "not affiliated with Cartesia",
        "Licence: Apache-2.0",
    ):
        assert must in TEXT, must
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


async def test_the_plain_client_prints_the_callers_text(tmp_path: Path) -> None:
    blocks = TEXT.split("```python\n")[1:]
    [snippet] = [block.split("```")[0] for block in blocks if "asyncio.run(main())" in block]
    script = Script("Good evening.", "A table for two ... please.")
    with wave.open(str(tmp_path / "caller.wav"), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(script.audio(AudioFormat()))
    async with InkServer(script) as server:
        environment = os.environ | {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any"}
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", snippet),
            env=environment,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, complaints = await program.communicate()
    assert program.returncode == 0, complaints.decode()
    finals = [line for line in output.decode().splitlines() if line.startswith(">>> ")]
    assert [line.removeprefix(">>> ") for line in finals] == list(script.transcripts)
