"""Which versions are installed, whether they were tested, and which extras are missing for what."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from cartesia_ink_plugins.cli import tools
from cartesia_ink_plugins.cli.checks.finding import Finding, Status

PACKAGE = "cartesia-ink-plugins"

TESTED: Mapping[str, tuple[str, str]] = {
    "websockets": ("13.1", "17.4"),
    "numpy": ("1.26.4", "2.4.6"),
    "aiohttp": ("3.14.4", "3.14.5"),
    "pipecat-ai": ("1.9.0", "1.14.0"),
    "livekit-agents": ("1.8.0", "1.8.9"),
}
"""The oldest and the newest version with which the tests run; of what a call depends on."""

PURPOSES: Mapping[str, str] = {
    "pipecat": "the services for Pipecat",
    "livekit": "the STT for LiveKit Agents",
    "telemetry": "spans and metrics of OpenTelemetry",
    "recording": "recordings of calls with FLAC sound",
    "server": "the local Ink server and the pytest fixture ink_server",
    "speech": "speech recognition in the local Ink server",
    "demo": "cartesia-ink demo and talk",
    "examples": "the examples",
}
"""The extras that an application may need, and what for."""

_ELSEWHERE: Mapping[str, str] = {"speech": tools.SPEECH, "demo": tools.DEMO}
"""How to install the extras whose code is in a package of its own."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?")
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*([^,\s]+)")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")

Installed = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A line of `Requires-Dist`.

    Attributes:
        name: Of the package.
        extras: Of that package.
        specifier: The versions that are allowed, such as `<2,>=1.9`.
        extra: Of ours, for which it is required; empty if it always is.
    """

    name: str
    extras: tuple[str, ...]
    specifier: str
    extra: str

    @classmethod
    def parse(cls, line: str) -> Requirement | None:
        """Read a line; None if it does not apply to this platform, or is not understood."""
        match = _REQUIREMENT.fullmatch(line.strip())
        if match is None:
            return None
        name, extras, specifier, marker = match.groups()
        extra = _EXTRA.search(marker or "")
        rest = _EXTRA.sub("", marker or "").replace("and", "").strip(" ()")
        if rest and not ("win32" in rest and "!=" in rest and sys.platform != "win32"):
            return None
        split = tuple(filter(None, (part.strip() for part in (extras or "").split(","))))
        return cls(name, split, specifier.strip(), extra.group(1) if extra else "")

    def allows(self, version: str) -> bool:
        """Whether a version is allowed; an operator that is not known allows any."""
        clauses = _CLAUSE.findall(self.specifier)
        return all(_satisfies(version, operator, bound) for operator, bound in clauses)


def _satisfies(version: str, operator: str, bound: str) -> bool:
    ours, theirs = order(version), order(bound)
    match operator:
        case ">=" | "~=":
            return ours >= theirs
        case "<=":
            return ours <= theirs
        case ">":
            return ours > theirs
        case "<":
            # A pre-release of the bound is not below it: PEP 440.
            return ours[0] < theirs[0]
        case "==":
            return ours == theirs or bound.endswith(".*")
        case _:
            return ours != theirs


def order(version: str) -> tuple[tuple[int, ...], bool]:
    """What versions are compared by: the numbers, and a pre-release before its release."""
    match = re.match(r"v?(\d+(?:\.\d+)*)(.*)", version.strip())
    if match is None:
        return (), False
    numbers = [int(number) for number in match.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), re.match(r"[._-]?(a|b|rc|dev)", match.group(2)) is None


def installed_version(name: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_packages(needed: Sequence[str] = ()) -> list[Finding]:
    """Look at Python, at what is installed, and at the extras.

    Args:
        needed: Extras without which a call fails.
    """
    try:
        ours = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        found = [
            Finding(
                "packages",
                Status.UNCHECKED,
                f"{PACKAGE} is imported from a folder and is not installed",
                "pip install it, so that pip keeps its versions together",
            )
        ]
        return [_python(()), *found, *_tested(installed_version)]
    parsed = map(Requirement.parse, ours.requires or [])
    requirements = [one for one in parsed if one is not None]
    return [
        _python(ours.metadata.get_all("Classifier") or ()),
        Finding("packages", Status.OK, f"{PACKAGE} {ours.version}"),
        *_tested(installed_version),
        *check_extras(requirements, installed_version, needed),
    ]


def _python(classifiers: Sequence[str]) -> Finding:
    version = platform.python_version()
    minor = ".".join(version.split(".")[:2])
    tested = [line.rpartition(" ")[2] for line in classifiers if ":: Python :: 3." in line]
    if tested and minor not in tested:
        return Finding(
            "python",
            Status.WARNING,
            f"{version} is not among the tested ones ({', '.join(tested)})",
            "run the tests of your bot, or use a tested one",
        )
    return Finding("python", Status.OK, version)


def _tested(installed: Installed) -> Iterator[Finding]:
    """Compare with the tested versions; what is too old is told by the extras, too."""
    for name, (oldest, newest) in TESTED.items():
        version = installed(name)
        if version is None:
            continue
        if order(version) < order(oldest):
            yield Finding(
                name,
                Status.PROBLEM,
                f"{version} is older than {oldest}, the oldest that is tested",
                f"pip install '{name}>={oldest}'",
            )
        elif order(version) > order(newest):
            yield Finding(
                name,
                Status.WARNING,
                f"{version} is newer than {newest}, the newest that was tested",
                f"run the tests of your bot, or pip install '{name}<={newest}'",
            )
        else:
            yield Finding(name, Status.OK, f"{version} (tested from {oldest} to {newest})")


def check_extras(
    requirements: Sequence[Requirement], installed: Installed, needed: Sequence[str]
) -> Iterator[Finding]:
    """Find what the extras require and what is not there, or is there in a wrong version.

    Args:
        requirements: Of this package.
        installed: Gives the version of a package.
        needed: Extras without which a call fails.
    """
    for extra, purpose in PURPOSES.items():
        wanted = [(one, installed(one.name)) for one in _of_extra(extra, requirements)]
        missing = [one.name for one, version in wanted if version is None]
        wrong = [
            f"{one.name} {version} (not {one.specifier})"
            for one, version in wanted
            if version is not None and not one.allows(version)
        ]
        install = _ELSEWHERE.get(extra, f"pip install '{PACKAGE}[{extra}]'")
        check = f"[{extra}]"
        if missing:
            status = Status.PROBLEM if extra in needed else Status.NOTE
            lacking = f"not installed: {', '.join(missing)}; needed for {purpose}"
            yield Finding(check, status, lacking, install)
        elif wrong:
            yield Finding(check, Status.PROBLEM, f"wrong versions: {', '.join(wrong)}", install)
        else:
            yield Finding(check, Status.OK, f"installed, for {purpose}")


def _of_extra(extra: str, requirements: Sequence[Requirement]) -> Iterator[Requirement]:
    """What an extra requires, with the extras that it is made of."""
    for one in requirements:
        if one.extra != extra:
            continue
        if one.name.lower().replace("_", "-") == PACKAGE:
            for other in one.extras:
                yield from _of_extra(other, requirements)
        else:
            yield one
