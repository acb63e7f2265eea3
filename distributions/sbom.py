"""Write a bill of materials for each extra, with licences: `make sbom`.

CycloneDX 1.6, one file for each extra, of what is installed in this environment and required by
that extra. Nothing in a file depends on the time or the machine but the versions, so that two runs
in one environment give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAME: str = PROJECT["name"]
EXTRAS = ("", "pipecat", "livekit", "server", "speech", "demo")
"""What a user may install; the empty one is the package without extras."""

OPTIONAL_GPL = frozenset({"piper-tts"})
"""Under GPL-3: the voice of the demo. Only the extra `demo` asks for it."""

# The names that classifiers have for what SPDX calls otherwise.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
_LONGEST_NAME = 60
"""Characters. A longer `License` field is the text of a licence, and no name."""


@dataclass(frozen=True, slots=True)
class Component:
    """A package that an extra brings.

    Attributes:
        name: In its canonical form.
        version: What is installed.
        licence: An SPDX expression, or the name that the package gives; empty if it gives none.
        requires: The canonical names of what it requires of what the extra brings.
    """

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]

    @property
    def reference(self) -> str:
        """The package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def licence_of(metadata: Message) -> str:
    """Name the licence of a package: by its expression, its classifiers or its `License` field."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = metadata.get_all("Classifier") or []
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    known = [_SPDX.get(name, name) for name in named if name != "OSI Approved"]
    if known:
        return " AND ".join(sorted(set(known)))
    first = str(metadata.get("License") or "").strip().split("\n")[0]
    return first if len(first) <= _LONGEST_NAME else ""


def required(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """Yield what a package requires here, with these extras of it."""
    for line in importlib.metadata.requires(name) or []:
        one = Requirement(line)
        contexts = [{"extra": extra} for extra in extras | {""}]
        if one.marker is None or any(one.marker.evaluate(context) for context in contexts):
            yield one


def components(extra: str) -> dict[str, Component]:
    """Find all that an extra brings, by name.

    Raises:
        PackageNotFoundError: Something is not installed here.
    """
    wanted: dict[str, frozenset[str]] = {}
    edges: dict[str, set[str]] = {}
    queue: list[tuple[str, frozenset[str]]] = [(NAME, frozenset({extra} - {""}))]
    while queue:
        name, extras = queue.pop()
        if extras <= wanted.get(name, frozenset()) and name in wanted:
            continue
        wanted[name] = wanted.get(name, frozenset()) | extras
        for one in required(name, wanted[name]):
            other = canonicalize_name(one.name)
            edges.setdefault(name, set()).add(other)
            queue.append((other, frozenset(one.extras)))
    found = {}
    for name in sorted(wanted.keys() - {NAME}):
        about = cast(Message, importlib.metadata.metadata(name))
        requires = tuple(sorted(edges.get(name, set()) - {name}))
        found[name] = Component(name, about["Version"], licence_of(about), requires)
    return found


def document(extra: str) -> dict[str, Any]:
    """Return the bill of materials of an extra, as CycloneDX has it."""
    version = importlib.metadata.version(NAME)
    reference = f"pkg:pypi/{NAME}@{version}"
    found = components(extra)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": reference,
                "name": f"{NAME}[{extra}]" if extra else NAME,
                "version": version,
                "purl": reference,
                "licenses": [{"expression": PROJECT["license"]}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": one.reference,
                "name": one.name,
                "version": one.version,
                "purl": one.reference,
                "licenses": [{"license": {"name": one.licence}}],
                **({"scope": "optional"} if one.name in OPTIONAL_GPL else {}),
            }
            for one in found.values()
        ],
        "dependencies": [
            {
                "ref": one.reference,
                "dependsOn": [found[name].reference for name in one.requires if name in found],
            }
            for one in found.values()
        ],
    }


def main(folder: Path) -> None:
    """Write the files and print how many packages each has under which licence."""
    folder.mkdir(parents=True, exist_ok=True)
    for extra in EXTRAS:
        bill = document(extra)
        file = folder / f"{NAME}{f'-{extra}' if extra else ''}.cdx.json"
        file.write_text(json.dumps(bill, indent=2) + "\n", "utf-8")
        licences = [one["licenses"][0]["license"]["name"] for one in bill["components"]]
        counts = {name: licences.count(name) for name in sorted(set(licences))}
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        sys.stdout.write(f"{file}: {len(licences)} packages: {told}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
