"""What the project promises about itself: versions, packaging, rooms, and one-line setup."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import cartesia_ink_plugins
from cartesia_ink_plugins.cli.checks.packages import PURPOSES, TESTED
from tests.needs import NEEDS, ROOT

PACKAGE = ROOT / "cartesia_ink_plugins"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
CONSTRAINTS = sorted(ROOT.glob("constraints*.txt"))
# Modules that stand on what the floors have not.
NEWER = {"cartesia_ink_plugins.demo.evals": pytest.mark.needs("pipecat-ai>=1.14")}
FRAMEWORKS = ("aiohttp", "cartesia", "livekit", "loguru", "onnxruntime", "pipecat", "pytest")


def requirements(*extras: str) -> list[Requirement]:
    """What the package asks for by itself and with these extras, our own extras left out."""
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    wanted += [Requirement(line) for extra in extras for line in EXTRAS[extra]]
    return [one for one in wanted if one.name != PROJECT["name"]]


def pins(path: Path) -> list[Requirement]:
    """The lines of a constraints file that apply to this Python."""
    lines = (line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    found = [Requirement(line) for line in lines if line]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def modules() -> list[ParameterSet]:
    """Every module of the package, by name."""
    prefix = f"{PACKAGE.name}."
    names = [found.name for found in pkgutil.walk_packages([str(PACKAGE)], prefix)]
    return [pytest.param(name, marks=NEWER.get(name, ())) for name in names]


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_a_constraints_file_holds_exact_versions_and_no_host(path: Path) -> None:
    found = pins(path)
    assert found
    for pin in found:
        assert pin.url is None, pin
        assert [one.operator for one in pin.specifier] == ["=="], pin
    assert not re.search(r"://|^\s*-|@", path.read_text("utf-8"), re.MULTILINE)


def test_everything_an_extra_asks_for_is_held_at_a_version_that_it_allows() -> None:
    held = {canonicalize_name(pin.name): pin for pin in pins(ROOT / "constraints.txt")}
    for wanted in requirements(*EXTRAS):
        [version] = held[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(version.version), wanted


def test_the_doctor_knows_what_each_extra_is_for() -> None:
    assert set(PURPOSES) == set(EXTRAS) - {"all", "dev", "test"}


def test_the_floors_are_the_oldest_versions_that_the_extras_allow() -> None:
    held = {canonicalize_name(pin.name): pin for pin in pins(ROOT / "constraints-floors.txt")}
    for wanted in requirements("pipecat", "livekit", "server", "speech", "telemetry"):
        [floor] = [one.version for one in wanted.specifier if one.operator in (">=", "==")]
        [version] = held[canonicalize_name(wanted.name)].specifier
        same = f"{version.version}.0".startswith(f"{floor}.")
        newer_for_python = wanted.name == "numpy" and sys.version_info >= (3, 13)
        assert same or newer_for_python, f"{wanted} is tested at {version.version}"


@pytest.mark.parametrize("name", TESTED)
def test_the_doctor_knows_the_versions_that_the_tests_run_with(name: str) -> None:
    held = [
        pin for path in CONSTRAINTS for pin in pins(path) if canonicalize_name(pin.name) == name
    ]
    versions = sorted(Version(one.version) for pin in held for one in pin.specifier)
    [lowest] = [one for one in requirements(*EXTRAS) if canonicalize_name(one.name) == name][:1]
    [floor] = [one.version for one in lowest.specifier if one.operator == ">="]
    assert (Version(floor), versions[-1]) == tuple(map(Version, TESTED[name]))


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("name", modules())
def test_a_module_can_be_imported_and_has_what_it_lists(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name}.__all__ lists {public}"


def test_the_core_stands_alone() -> None:
    code = f"""
import sys
import cartesia_ink_plugins, cartesia_ink_plugins.core
print([name for name in {FRAMEWORKS!r} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_pytest_plugin_needs_no_extra() -> None:
    # pytest loads it wherever the package is installed.
    code = f"""
import sys
sys.modules.update(dict.fromkeys({FRAMEWORKS!r}[:-1]))
import cartesia_ink_plugins.testing.plugin
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_version_is_written_once_and_is_the_same_everywhere() -> None:
    version = cartesia_ink_plugins.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert released[:1] in ([], [version])
    assert importlib.metadata.version(PROJECT["name"]) == version
    assert "version" in PROJECT["dynamic"]
    written = re.compile(rf"""version.*["']{re.escape(version)}["']""")
    assert [path for path in PACKAGE.rglob("*.py") if written.search(path.read_text("utf-8"))] == [
        PACKAGE / "version.py"
    ]


def test_what_ci_installs_is_needed_by_a_test() -> None:
    tests = [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if path.name not in ("needs.py", "test_project.py")
    ]
    marked = "".join(
        "".join(re.findall(r"\bneeds\([^)]*\)", path.read_text("utf-8"))) for path in tests
    )
    installed = [name for name, need in NEEDS.items() if need.installable]
    assert [name for name in installed if f'"{name}"' not in marked] == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with nothing but the Makefile and the versions."""
    for name in ("Makefile", "pyproject.toml", *(path.name for path in CONSTRAINTS)):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(
    folder: Path, *arguments: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run make with nothing of this environment but, if given, another PATH."""
    program = shutil.which("make")
    assert program
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [program, "-C", str(folder), *arguments], env=environment, capture_output=True, text=True
    )


def test_make_without_a_target_says_what_can_be_made(checkout: Path) -> None:
    ran = make(checkout)
    assert ran.returncode == 0
    for target in ("demo", "test", "check", "test-floors", "bench-engine", "clean"):
        assert f"make {target} " in ran.stdout


def test_without_a_fit_python_make_says_so_in_one_line(checkout: Path) -> None:
    programs = checkout / "programs"
    programs.mkdir()
    old = programs / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ran = make(checkout, "test", path=str(programs))
    assert ran.returncode != 0
    complaint = [line for line in ran.stderr.splitlines() if not line.startswith("make")]
    assert len(complaint) == 1 and "No Python 3.11 or newer" in complaint[0]
    assert not (checkout / ".venv").exists()
