"""`cartesia-ink serve`, as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cartesia_ink_plugins.cli.main import main
from tests.needs import ROOT

COMMAND = """
import argparse, sys
from cartesia_ink_plugins.cli import serve
parser = argparse.ArgumentParser()
serve.add_parser(parser.add_subparsers())
arguments = parser.parse_args(sys.argv[1:])
sys.exit(arguments.run(arguments))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=200,
        check=False,
    )


@contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("Ink server at http"), process.communicate(timeout=10)
        yield process, line.split()[3]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "caller.txt"
    path.write_text("Hello there.\n")
    return path


def call(url: str, pcm: bytes) -> list[str]:
    address = f"{url.replace('http', 'ws', 1)}/stt/turns/websocket"
    query = "model=ink-2&encoding=pcm_s16le&sample_rate=16000"
    texts = []
    with connect(f"{address}?{query}", additional_headers={"X-API-Key": "k"}) as websocket:
        websocket.send(pcm)
        websocket.send('{"type":"close"}')
        try:
            while True:
                message = json.loads(websocket.recv())
                if message["type"] == "turn.end":
                    texts.append(message["transcript"])
        except ConnectionClosed:
            return texts


def test_it_serves_shows_the_turns_and_ctrl_c_leaves_nothing(script: Path, tmp_path: Path) -> None:
    audio = tmp_path / "caller.wav"
    written = run("--engine", "script", script, "--audio", audio)
    assert (written.returncode, written.stderr) == (0, "")
    with wave.open(str(audio)) as recorded:
        pcm = recorded.readframes(recorded.getnframes())
    with serving("--engine", "script", script) as (process, url):
        assert call(url, pcm) == ["Hello there."]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert err == ""
    assert "turn.end        Hello there." in out
    assert "#0 open: model=ink-2" in out
    assert "#0 closed 1000" in out
    assert f"CARTESIA_BASE_URL={url}" in out


def test_a_request_does_nothing_to_the_terminal_and_its_key_is_not_shown(script: Path) -> None:
    codes = quote("\x1b[2J\x1b]0;owned\x07\x9b2J\r\n\ud83d".encode(errors="surrogatepass"))
    secret = "sk_car_0123456789abcdef"
    with serving("--engine", "script", script) as (process, url):
        port = int(url.rpartition(":")[2])
        for path in (
            f"/{codes}",
            f"/stt/turns/websocket?model={codes}&api_key={secret}",
            f"/stt/{secret}?access_token=k",
        ):
            request = HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {"X-API-Key": "k", "Connection": "Upgrade", "Upgrade": "websocket"}
            headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "A" * 22 + "=="}
            request.request("GET", path, headers=headers)
            request.getresponse().close()
            request.close()
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET /\x1b[2J HTTP/1.1\r\nX\x1b[2J: \x1b[2J\r\n\r\n")
            raw.recv(1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert "\\x1b[2J" in out
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert secret not in out + err


def test_faults_are_played(script: Path) -> None:
    faults = ["--fault", "close=1011@turn.start", "--fault", "silence=0.1@connect"]
    with serving("--engine", "script", script, *faults) as (process, url):
        assert call(url, bytes(32_000)) == []
        process.terminate()
        assert process.wait(20) == 143


def test_a_port_that_is_taken_is_one_line(script: Path) -> None:
    with serving("--engine", "script", script) as (_, url):
        refused = run("--engine", "script", script, "--port", url.rpartition(":")[2])
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "Address already in use" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "telepathy"], "'telepathy' is neither speech nor script FILE"),
        (["--engine", "script"], "name the file"),
        (["--engine", "script", "/nowhere/at/all.txt"], "cannot read /nowhere/at/all.txt"),
        (["--engine", "script", "SCRIPT", "--fault", "explode@noon"], "'explode' is not one of"),
        (["--engine", "script", "SCRIPT", "--port", "99999"], "cannot listen on"),
        (["--engine", "script", "SCRIPT", "--idle-timeout", "0"], "is not above 0 seconds"),
        (["--engine", "script", "SCRIPT", "--max-streams", "0"], "max_streams: 0 is below 1"),
        (["--engine", "script", "SCRIPT", "--api-key", ""], "one is empty"),
        (["--engine", "script", "SCRIPT", "--audio", "/nowhere/x.wav"], "cannot write"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    arguments: list[str], words: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *(str(script) if a == "SCRIPT" else a for a in arguments)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert said.startswith("cartesia-ink serve: ")


@pytest.mark.parametrize(
    ("engine", "package"),
    [
        (["speech"], "'cartesia-ink-tools[speech]'"),
        (["script", "call.txt"], "'cartesia-ink-plugins[server]'"),
    ],
)
def test_a_missing_extra_is_named(engine: list[str], package: str) -> None:
    program = (
        "import sys\n"
        "sys.modules['aiohttp'] = None\n"
        "from cartesia_ink_plugins.cli.main import main\n"
        "sys.exit(main(['serve', '--engine', *sys.argv[1:]]))\n"
    )
    command = [sys.executable, "-c", program, *engine]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert refused.stderr == (f"cartesia-ink serve: aiohttp is missing: pip install {package}\n")


def test_help_tells_how_to_write_scripts_and_faults() -> None:
    told = run("--help")
    assert told.returncode == 0
    for words in ("one turn per line", '"eager": false', "reset@turn.update:2"):
        assert words in told.stdout
