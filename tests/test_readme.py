"""The README is run, not believed."""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script
from tests.needs import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SNIPPETS = [text for language, text in BLOCKS if language == "python"]
SHELL = "\n".join(text for language, text in BLOCKS if language == "sh")


def first_screen() -> str:
    """What is seen without scrolling: up to the first heading below the title."""
    return README.split("\n## ")[0]


def test_the_first_screen_starts_every_kind_of_user() -> None:
    for must in ("pip install", "InkTurnsSTTService", "ink.STT()", "InkTurnsClient", "make demo"):
        assert must in first_screen()
    assert '"turn_detection": "stt"' in first_screen()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split("\n")[0])
def test_what_a_snippet_imports_exists(snippet: str) -> None:
    imports = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.ImportFrom)]
    for statement in imports:
        module = importlib.import_module(statement.module or "")
        for name in statement.names:
            if not hasattr(module, name.name):
                importlib.import_module(f"{statement.module}.{name.name}")


async def test_the_plain_client_prints_the_callers_words(tmp_path: Path) -> None:
    [snippet] = [text for text in SNIPPETS if "asyncio.run(main())" in text]
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


async def test_the_example_of_a_test_passes() -> None:
    [snippet] = [text for text in SNIPPETS if "def test_" in text]
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    await names["test_every_word_is_heard"]()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", SHELL))))
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^cartesia-ink (\w+)", SHELL, re.M))))
def test_a_command_of_the_readme_explains_itself(command: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "cartesia_ink_plugins.cli.main", command, "--help"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert command in ran.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
