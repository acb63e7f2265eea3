"""What is in the distributions: everything that a user needs, and nothing that only we need."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cartesia_ink_plugins.demo import caller
from tests.needs import ROOT

PACKAGE = ROOT / "cartesia_ink_plugins"
LARGEST_WHEEL = 400_000
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


def test_the_wheel_carries_types_and_licence(names: set[str]) -> None:
    assert "cartesia_ink_plugins/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_what_the_wheel_leaves_out_is_imported_by_no_module_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modules = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    for left_out in ("demo.evals", "demo.page_events", "demo.web"):
        assert f"cartesia_ink_plugins/{left_out.replace('.', '/')}.py" not in modules
        assert not [name for name, text in modules.items() if left_out.encode() in text]


def test_an_installed_demo_speaks_its_caller_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("piper", reason="pip install -e '.[demo]'")
    recorded = caller.recording(caller.LINES[-1])
    monkeypatch.setattr(caller, "FOLDER", Path("left out of the wheel"))
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


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST_WHEEL


def test_the_wheel_carries_no_benchmark_and_no_uncompressed_sound(names: set[str]) -> None:
    assert not {name for name in names if name.startswith(OURS)}
    assert not {name for name in names if "bench" in name}
    assert not {name for name in names if name.endswith((".wav", ".flac", ".opus", ".html"))}


def test_the_source_distribution_carries_what_verifies_and_measures_it(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in ("Makefile", "constraints.txt", *(f"{folder}__init__.py" for folder in OURS[:2])):
        assert name in names
