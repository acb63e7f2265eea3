"""A release names the commit that it was built of, in a form that any host can read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from distributions import provenance
from tests.needs import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
REVISION = "0123456789abcdef0123456789abcdef01234567"


def test_the_statement_has_the_sum_of_each_distribution_and_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a-1-py3-none-any.whl": b"wheel", "a-1.tar.gz": b"source"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "other.json").touch()
    monkeypatch.setattr(provenance, "commit", lambda: REVISION)
    provenance.main(tmp_path)
    statement = json.loads((tmp_path / "provenance.intoto.json").read_text("utf-8"))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    assert subjects == {n: hashlib.sha256(content).hexdigest() for n, content in files.items()}
    [built_of] = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert built_of == {"uri": f"git+{provenance.SOURCE}", "digest": {"gitCommit": REVISION}}
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_changed_files_are_no_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "-m", "One")
    assert len(provenance.commit(tmp_path)) == 40
    (tmp_path / "file").write_text("2")
    with pytest.raises(SystemExit, match="commit the changes first"):
        provenance.commit(tmp_path)


def test_nothing_to_release_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run make dist"):
        provenance.main(tmp_path)


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [("v99.0", "The tag is v99.0, and"), ("", "CHANGELOG.md has no section [")],
)
def test_a_release_with_another_tag_or_without_notes_is_not_built(
    tmp_path: Path, tag: str, complaint: str
) -> None:
    for name in (".ci/release", "cartesia_ink_plugins/version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n")
    ran = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "release")],
        env=os.environ | {"RELEASE_TAG": tag},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert line.startswith(complaint)


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="pip install -e '.[dev]'")
    loaded: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    return loaded


def test_the_workflow_verifies_before_it_builds_and_stores_no_password(
    jobs: dict[str, Any],
) -> None:
    commands = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert commands.index("bash .ci/run") < commands.index("bash .ci/release")
    assert "secrets." not in WORKFLOW.read_text("utf-8")
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"]["id-token"] == "write"
    assert "id-token" not in jobs["build"]["permissions"]


def test_the_workflow_attests_and_publishes_every_file(jobs: dict[str, Any]) -> None:
    steps = {
        step.get("uses", "").split("@")[0]: step.get("with", {})
        for step in jobs["publish"]["steps"]
    }
    assert steps["actions/attest-build-provenance"]["subject-path"] == "dist/cartesia_ink_*"
    assert steps["pypa/gh-action-pypi-publish"]["attestations"] is True
