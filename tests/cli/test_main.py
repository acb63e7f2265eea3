"""The command line itself: help, version, exit statuses."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from cartesia_ink_plugins.cli import main as command_line
from cartesia_ink_plugins.cli.main import COMMANDS, main, make_parser
from cartesia_ink_plugins.core.errors import UsageError


def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "cartesia_ink_plugins.cli.main", *args]
    return subprocess.run(program, capture_output=True, text=True, timeout=200, check=False)


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for name in COMMANDS:
        assert f"\n    {name}" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: cartesia-ink {command}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"cartesia-ink {version('cartesia-ink-plugins')}"


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: cartesia-ink" in capsys.readouterr().err


def test_an_unknown_command_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["translate"])
    assert stop.value.code == 2
    assert "translate" in capsys.readouterr().err


def test_help_needs_no_framework() -> None:
    """Only what a command needs is imported, and only when it runs."""
    program = (
        "import sys\n"
        "from cartesia_ink_plugins.cli.main import make_parser\n"
        "make_parser().format_help()\n"
        "heavy = {'pipecat', 'livekit', 'aiohttp', 'onnxruntime', 'ctranslate2', 'piper'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True
    )
    assert result.stdout.strip() == "[]"


def command_that(monkeypatch: pytest.MonkeyPatch, raises: BaseException) -> int:
    """The exit status of a command that raises."""

    def run(args: argparse.Namespace) -> int:
        raise raises

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run, command="demo")
    monkeypatch.setattr(command_line, "make_parser", lambda: parser)
    return main([])


def test_bad_input_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_that(monkeypatch, UsageError("x.wav: no such file")) == 2
    assert capsys.readouterr().err == "cartesia-ink demo: x.wav: no such file\n"


def test_ctrl_c_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_that(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def test_half_a_surrogate_pair_is_printed_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A transcript may have one, and is printed verbatim: no encoding has a way to write it."""

    def run(args: argparse.Namespace) -> int:
        print(json.dumps("\ud83d", ensure_ascii=False))
        return 0

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run, command="demo")
    monkeypatch.setattr(command_line, "make_parser", lambda: parser)
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed == '"\\ud83d"\n'
    assert json.loads(printed) == "\ud83d"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = [sys.executable, "-m", "cartesia_ink_plugins.cli.main", "--help"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_the_parser_has_the_commands_in_order() -> None:
    text = make_parser().format_help()
    places = [text.index(f"\n    {name}") for name in COMMANDS]
    assert places == sorted(places)
