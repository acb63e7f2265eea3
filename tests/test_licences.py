"""The README names every GPL and LGPL distribution that an extra installs."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.needs import ROOT

PACKAGE = "cartesia-ink-plugins"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
README = (ROOT / "README.md").read_text("utf-8")
COPYLEFT = re.compile(r"\b[AL]?GPL|General Public License")


def named_in_the_readme(extra: str) -> str:
    """The cells of an extra's row."""
    [row] = [line for line in README.splitlines() if re.match(rf"\|.*`{extra}`.*\|.*\|.*\|", line)]
    return row


def is_copyleft(name: str) -> bool:
    """Whether the metadata of a distribution names such a licence and no other."""
    data = importlib.metadata.metadata(name)
    classifiers = [text for text in data.get_all("Classifier", []) if "License ::" in text]
    short = data.get_all("License-Expression", []) or data.get_all("License", [])
    named = [text[:200] for text in (*short, *classifiers) if text]
    return bool(named) and all(COPYLEFT.search(text) for text in named)


def installed_by(name: str, extras: frozenset[str], seen: dict[str, set[str]]) -> None:
    """Gather a distribution and all that it asks for, as far as it is installed here."""
    key = canonicalize_name(name)
    news = ({""} | extras) - seen.setdefault(key, set())
    seen[key] |= news
    try:
        wanted = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for text in wanted:
        one = Requirement(text)
        if any(one.marker is None or one.marker.evaluate({"extra": extra}) for extra in news):
            installed_by(one.name, frozenset(one.extras), seen)


def copyleft_of(extra: str) -> set[str]:
    seen: dict[str, set[str]] = {}
    for text in EXTRAS[extra]:
        one = Requirement(text)
        if canonicalize_name(one.name) != PACKAGE:
            installed_by(one.name, frozenset(one.extras), seen)
    found = set()
    for name in seen:
        try:
            if is_copyleft(name):
                found.add(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    own = [one for one in map(Requirement, EXTRAS[extra]) if canonicalize_name(one.name) == PACKAGE]
    return found.union(*(copyleft_of(inner) for one in own for inner in one.extras))


@pytest.mark.parametrize("extra", ["pipecat", "livekit", "server", "telemetry", "recording"])
def test_those_of_an_extra_are_in_its_row(extra: str) -> None:
    for name in copyleft_of(extra):
        assert f"`{name}`" in named_in_the_readme(extra)


@pytest.mark.parametrize("extra", ["speech", "demo", "examples", "all"])
def test_those_of_a_larger_extra_are_in_its_row_or_those_above(extra: str) -> None:
    table = README.partition("## Extras and licences")[2].partition("## ")[0]
    for name in copyleft_of(extra):
        assert f"`{name}`" in table


@pytest.mark.parametrize("extra", ["server", "telemetry"])
def test_what_is_said_to_be_free_of_them_is(extra: str) -> None:
    assert "None |" in named_in_the_readme(extra)
    assert copyleft_of(extra) == set()


@pytest.mark.needs("piper-tts>=1.3")
def test_the_search_finds_them() -> None:
    assert "piper-tts" in copyleft_of("demo")
    assert {"soxr", "num2words"} <= copyleft_of("pipecat")
