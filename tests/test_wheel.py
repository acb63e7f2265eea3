"""What is in the distributions: everything that a user needs, and nothing that only we need."""

from __future__ import annotations

import ast
import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement

from cartesia_ink_plugins import __version__
from cartesia_ink_plugins.cli import tools
from cartesia_ink_plugins.demo import caller
from tests.needs import ROOT

PACKAGE = ROOT / "cartesia_ink_plugins"
TOOLS = ROOT / "distributions" / "cartesia-ink-tools"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LARGEST = 350_000
"""Bytes. What a bot downloads at every build of its image."""
FIRST_TURN_SECONDS = 60
"""Promised: seconds from the end of the installation to the first transcript, without a key."""
INSTALL_SECONDS = 200
OURS = ("benchmarks/", "tests/", "examples/", "docs/", "distributions/")


def build(target: str, folder: Path, project: Path = ROOT) -> Path:
    # A plain build backend call: nothing is fetched, so this works without a network.
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=project,
        check=True,
        capture_output=True,
    )
    [file] = set(folder.iterdir()) - before
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def tools_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("tools"), TOOLS)


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return files_of(wheel)


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_the_wheel_carries_types_and_licence(names: set[str]) -> None:
    assert "cartesia_ink_plugins/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_both_wheels_together_are_the_package_and_share_no_file(
    names: set[str], tools_wheel: Path
) -> None:
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    plugins = {name for name in names if name.startswith(PACKAGE.name + "/")}
    offline_files = {name for name in files_of(tools_wheel) if name.startswith(PACKAGE.name + "/")}
    assert not plugins & offline_files
    assert plugins | offline_files == ours


def test_no_module_of_the_wheel_needs_what_is_left_out_to_be_imported(wheel: Path) -> None:
    """What is in the other wheel is imported inside functions, which say how to install it."""
    left_out = tuple(
        f"{PACKAGE.name}.{name}"
        for name in (
            *("demo", "server.speech", "observe.reader", "observe.timeline"),
            *("cli.calls", "cli.checks"),
        )
    )
    with zipfile.ZipFile(wheel) as archive:
        modules = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    for name, text in modules.items():
        for statement in ast.parse(text).body:
            match statement:
                case ast.ImportFrom(module=str(module)):
                    assert not module.startswith(left_out), name
                case ast.Import(names=imported):
                    assert not any(one.name.startswith(left_out) for one in imported), name


def test_both_wheels_are_of_one_version(tools_wheel: Path) -> None:
    about = metadata(tools_wheel)
    assert about["Version"] == __version__
    needed = [Requirement(line) for line in about.get_all("Requires-Dist", [])]
    plugins = [one for one in needed if one.name == "cartesia-ink-plugins"]
    [clock] = [one for one in needed if one not in plugins]
    assert clock.name == "time-machine"
    assert clock in map(Requirement, PROJECT["optional-dependencies"]["test"])
    assert {str(one.specifier) for one in plugins} == {f"=={__version__}"}
    markers = {str(one.marker or ""): one.extras for one in plugins}
    assert markers == {"": set(), 'extra == "speech"': {"speech"}, 'extra == "demo"': {"demo"}}


def test_the_plugins_require_no_voice(wheel: Path) -> None:
    needed = [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist", [])]
    by_default = {one.name for one in needed if one.marker is None}
    assert by_default == {"numpy", "websockets"}
    for extra in ("pipecat", "livekit", "server", "speech", "test"):
        asked = {one.name for one in needed if one.marker and one.marker.evaluate({"extra": extra})}
        assert "piper-tts" not in asked, extra


def test_a_demo_without_its_recordings_speaks_its_caller_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("piper", reason="pip install -e '.[demo]'")
    recorded = caller.recording(caller.LINES[-1])
    monkeypatch.setattr(caller, "FOLDER", Path("not there"))
    spoken = caller.recording(caller.LINES[-1])
    assert len(spoken) == pytest.approx(len(recorded), rel=0.3)
    assert loudness(spoken) == pytest.approx(loudness(recorded), rel=0.5)


def loudness(pcm: bytes) -> float:
    return float(np.sqrt(np.square(np.frombuffer(pcm, "<i2").astype(float)).mean()))


def test_the_wheel_carries_the_command(wheel: Path, names: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [entries] = [name for name in names if name.endswith("/entry_points.txt")]
        assert "cartesia-ink = _cartesia_ink:main" in archive.read(entries).decode()
    assert "_cartesia_ink.py" in names
    outside = {name.split("/")[0] for name in names if not name.startswith(PACKAGE.name)}
    assert outside == {"_cartesia_ink.py"}


def test_wheel_and_source_distribution_are_small(wheel: Path, sdist: Path) -> None:
    assert wheel.stat().st_size <= LARGEST
    assert sdist.stat().st_size <= LARGEST


def test_the_wheel_carries_no_benchmark_and_no_sound(names: set[str]) -> None:
    assert not {name for name in names if name.startswith(OURS)}
    assert not {name for name in names if "bench" in name}
    assert not {name for name in names if name.endswith((".wav", ".flac", ".opus", ".html"))}


def test_the_source_distribution_carries_the_documentation_and_no_sound(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages | {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"} <= names
    assert not {name for name in names if name.endswith((".wav", ".flac", ".opus"))}


def test_a_build_can_be_reproduced(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """Elsewhere, of files with other times and modes, and from the source distribution."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames()} - {"PKG-INFO"}
    for name in top:
        if (ROOT / name).is_file():
            shutil.copyfile(ROOT / name, copy / name)
    no_caches = shutil.ignore_patterns("__pycache__")
    for name in (PACKAGE.name, "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=no_caches, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert build("wheel", tmp_path / "1", copy).read_bytes() == wheel.read_bytes()
    assert build("sdist", tmp_path / "2", copy).read_bytes() == sdist.read_bytes()
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    assert build("wheel", tmp_path / "3", unpacked).read_bytes() == wheel.read_bytes()


@pytest.mark.needs("twine>=6")
def test_the_index_accepts_what_is_built(wheel: Path, sdist: Path, tools_wheel: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, tools_wheel],
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("PASSED") == 3


def test_the_readme_on_the_index_has_absolute_links_into_the_repository(wheel: Path) -> None:
    about = metadata(wheel)
    readme = about.get_payload()
    assert isinstance(readme, str)
    links = re.findall(r"\]\(([^)]+)\)", readme)
    ours = [link for link in links if link.startswith(PROJECT["urls"]["Source"])]
    assert ours
    assert [link for link in links if not link.startswith("https://")] == []
    for link in ours:
        path = link.removeprefix(PROJECT["urls"]["Source"] + "/blob/main/").split("#")[0]
        assert (ROOT / path).exists(), link


def test_the_project_says_who_makes_it_and_where_it_is(wheel: Path) -> None:
    about = metadata(wheel)
    urls = dict(line.split(", ", 1) for line in about.get_all("Project-URL", []))
    assert {"Changelog", "Documentation", "Homepage", "Issues", "Source"} <= urls.keys()
    assert about["Author"]
    assert about["License-Expression"] == "Apache-2.0"
    assert "not affiliated with Cartesia" in str(about.get_payload())


def first_turn_program() -> str:
    """The first program of the documentation's index page that needs no framework."""
    page = (ROOT / "docs" / "index.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    [program] = [block for block in blocks if "asyncio.run(main())" in block]
    return str(program)


def test_a_bare_environment_has_a_first_transcript_within_a_minute(
    wheel: Path, tmp_path: Path
) -> None:
    """Nothing but the wheel, what it asks for, and the program of the index page."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CARTESIA", "PYTHON", "VIRTUAL_ENV"))
    }

    def run(*command: str | Path, timeout: int) -> str:
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    # The pip that is here installs into it: one of its own takes seconds to be put there.
    run(sys.executable, "-m", "venv", "--without-pip", "bare", timeout=INSTALL_SECONDS)
    scripts = tmp_path / "bare" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python")
    quiet = ("--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--no-compile", *quiet, f"{wheel}[server]", timeout=INSTALL_SECONDS)
    printed = run(scripts / "python", "-c", first_turn_program(), timeout=FIRST_TURN_SECONDS)
    assert printed.splitlines()[-1] == "Hello there."
    assert __version__ in run(scripts / "cartesia-ink", "--version", timeout=FIRST_TURN_SECONDS)
    where = run(
        *(scripts / "python", "-c", "import cartesia_ink_plugins as ink; print(ink.__file__)"),
        timeout=FIRST_TURN_SECONDS,
    )
    assert Path(where.strip()).is_relative_to(tmp_path / "bare")
    for arguments, install in (
        (("demo", "--live"), tools.DEMO),
        (("talk", "--help"), tools.DEMO),
        (("doctor", "bot.py"), tools.TOOLS),
        (("timeline", "call.ink"), tools.TOOLS),
        (("serve",), tools.SPEECH),
        (("transcribe", "call.wav"), tools.SPEECH),
    ):
        asked = subprocess.run(
            [scripts / "cartesia-ink", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=FIRST_TURN_SECONDS,
        )
        assert asked.returncode == 2
        [line] = asked.stderr.splitlines()
        assert line.endswith(f": {install}")
