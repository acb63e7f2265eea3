"""`cartesia-ink demo`: what it says when it cannot play. The call itself is in `tests/e2e`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from cartesia_ink_plugins.cli.main import main
from cartesia_ink_plugins.testing import InkServer, Script


async def live_demo(url: str, framework: str = "pipecat") -> tuple[int | None, str]:
    """The exit status and the error output of a live demo against a server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cartesia_ink_plugins.cli.main", "demo", "--live", "--framework", framework),
        env={**os.environ, "CARTESIA_BASE_URL": url, "CARTESIA_API_KEY": "my-wrong-key"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, err = await asyncio.wait_for(process.communicate(), 200)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, err.decode()


def test_live_without_a_key_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--live"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "CARTESIA_API_KEY" in line


def test_a_place_to_save_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--save", str(tmp_path / "nowhere" / "call.wav")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"cartesia-ink demo: {tmp_path / 'nowhere'}: no such directory"


def test_a_place_to_save_that_is_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--save", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"cartesia-ink demo: {tmp_path}: is a directory"


def test_a_place_to_save_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may be run by root
    assert main(["demo", "--save", str(tmp_path / "call.wav")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"cartesia-ink demo: {tmp_path / 'call.wav'}: cannot be written"


async def test_a_key_that_is_refused_is_told_before_anybody_calls() -> None:
    async with InkServer(Script("Hello."), api_keys=["right"]) as server:
        status, err = await live_demo(server.url)
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith("cartesia-ink demo: ")
    assert "my-wrong-key" not in line


async def test_a_service_that_cannot_be_reached_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        status, err = await live_demo(url, "livekit")
    assert status == 1
    (line,) = err.splitlines()
    assert "cannot be reached" in line
