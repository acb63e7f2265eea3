"""Versions are compared as pip compares them; extras are found to be missing, wrong or complete."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement as Reference
from packaging.version import Version

from cartesia_ink_plugins.cli.checks import packages
from cartesia_ink_plugins.cli.checks.finding import Status
from cartesia_ink_plugins.cli.checks.machine import open_files
from cartesia_ink_plugins.cli.checks.packages import (
    PURPOSES,
    Requirement,
    check_extras,
    check_packages,
    order,
)

VERSIONS = "1.8 1.8.9 1.9 1.9.0 1.10.0 1.14.0.dev1 1.14.0 2.0.0b1 2.0 2.0.1 13.1 15.0.1".split()
OWN = metadata.requires(packages.PACKAGE) or []


@pytest.mark.parametrize("specifier", ["<2,>=1.9", ">=1.9.0", "==1.9.0", "<=1.14.0", ">1.9,<2"])
@pytest.mark.parametrize("version", VERSIONS)
def test_versions_are_allowed_as_pip_allows_them(specifier: str, version: str) -> None:
    requirement = Requirement.parse(f"pipecat-ai{specifier}")
    assert requirement is not None
    reference = Reference(f"pipecat-ai{specifier}").specifier
    assert requirement.allows(version) is reference.contains(version, prereleases=True)


def test_versions_are_ordered_as_pip_orders_them() -> None:
    assert sorted(VERSIONS, key=order) == sorted(VERSIONS, key=Version)


@pytest.mark.parametrize("line", OWN)
def test_our_own_requirements_are_understood(line: str) -> None:
    reference, ours = Reference(line), Requirement.parse(line)
    if ours is None:
        assert "extra == 'dev'" in line or 'extra == "dev"' in line
        return
    assert (ours.name, set(ours.extras)) == (reference.name, reference.extras)
    assert ours.extra == "" or f"extra == '{ours.extra}'" in line.replace('"', "'")
    for one in reference.specifier:
        if one.operator in (">=", "=="):
            assert ours.allows(one.version)


REQUIREMENTS = [
    one
    for one in map(
        Requirement.parse,
        [
            "numpy>=1.26",
            "pipecat-ai<2,>=1.9; extra == 'pipecat'",
            "aiohttp<4,>=3.11; extra == 'server'",
            "cartesia-ink-plugins[server]; extra == 'demo'",
            "piper-tts>=1.3; extra == 'demo'",
        ],
    )
    if one is not None
]


def extras(installed: dict[str, str], *needed: str) -> dict[str, tuple[Status, str]]:
    found = check_extras(REQUIREMENTS, installed.get, needed)
    return {finding.check: (finding.status, finding.message) for finding in found}


def test_a_missing_extra_is_a_note_unless_it_is_needed() -> None:
    status, message = extras({})["[pipecat]"]
    assert status is Status.NOTE
    assert message == f"not installed: pipecat-ai; needed for {PURPOSES['pipecat']}"
    assert extras({}, "pipecat")["[pipecat]"][0] is Status.PROBLEM


def test_a_wrong_version_is_a_problem() -> None:
    found = extras({"pipecat-ai": "1.8.3", "aiohttp": "3.11.12", "piper-tts": "1.8.0"})
    assert found["[pipecat]"] == (
        Status.PROBLEM,
        "wrong versions: pipecat-ai 1.8.3 (not <2,>=1.9)",
    )
    assert found["[server]"][0] is Status.OK


def test_an_extra_is_made_of_others() -> None:
    assert "aiohttp" in extras({"piper-tts": "1.8.0"})["[demo]"][1]
    assert extras({"piper-tts": "1.8.0", "aiohttp": "3.12"})["[demo]"][0] is Status.OK


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("1.8.9", Status.PROBLEM),
        ("1.9.0", Status.OK),
        ("1.14.0", Status.OK),
        ("99.0.0", Status.WARNING),
    ],
)
def test_a_version_is_compared_with_the_tested_ones(
    monkeypatch: pytest.MonkeyPatch, version: str, status: Status
) -> None:
    def installed(name: str) -> str | None:
        return version if name == "pipecat-ai" else None

    monkeypatch.setattr(packages, "installed_version", installed)
    found = {finding.check: finding for finding in check_packages()}
    assert found["pipecat-ai"].status is status
    assert "websockets" not in found


@pytest.mark.parametrize(
    ("limits", "status", "advice"),
    [
        ((1024, 4096), Status.OK, ""),
        ((256, 10_240), Status.WARNING, "ulimit -n 4096, where the bot is started"),
        ((256, 512), Status.WARNING, "ulimit -n 512, where the bot is started"),
        (None, Status.UNCHECKED, ""),
    ],
)
def test_few_open_files_are_a_warning(
    limits: tuple[int, int] | None, status: Status, advice: str
) -> None:
    finding = open_files(limits)
    assert (finding.status, finding.advice) == (status, advice)
