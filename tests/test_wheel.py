"""What is in the distributions: everything that a user needs, and nothing that only we need."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.needs import ROOT

PACKAGE = ROOT / "cartesia_ink_plugins"
LARGEST_WHEEL = 350 * 1024
"""Bytes. What a bot downloads at every build of its image."""
OURS = ("benchmarks/", "tests/", "examples/", "docs/")


def build(target: str, folder: Path) -> Path:
    # A plain build backend call: nothing is fetched, so this works without a network.
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [file] = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_types_licence_the_page_and_the_recorded_caller(names: set[str]) -> None:
    assert "cartesia_ink_plugins/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    carried = [*PACKAGE.rglob("*.opus"), *PACKAGE.rglob("*.html")]
    assert len(carried) == 8
    assert {str(path.relative_to(ROOT)) for path in carried} <= names


def test_the_wheel_carries_the_command(wheel: Path, names: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [entries] = [name for name in names if name.endswith("/entry_points.txt")]
        assert "cartesia-ink = _cartesia_ink:main" in archive.read(entries).decode()
    assert "_cartesia_ink.py" in names
    outside = {name.split("/")[0] for name in names if not name.startswith(PACKAGE.name)}
    assert outside == {"_cartesia_ink.py"}


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST_WHEEL


def test_the_wheel_carries_no_benchmark_and_no_uncompressed_sound(names: set[str]) -> None:
    assert not {name for name in names if name.startswith(OURS)}
    assert not {name for name in names if "bench" in name or name.endswith("caller/make.py")}
    assert not {name for name in names if name.endswith((".wav", ".flac"))}


def test_the_source_distribution_carries_what_verifies_and_measures_it(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in ("Makefile", "constraints.txt", *(f"{folder}__init__.py" for folder in OURS[:2])):
        assert name in names
