"""Say of which commit the files of a release were built: `python distributions/provenance.py dist`.

Writes `SHA256SUMS` and `provenance.intoto.json`, an in-toto statement with the predicate of SLSA,
which any host can read, sign and verify. Because builds can be reproduced, anybody can also build
the commit and compare the sums.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SOURCE: str = PROJECT["urls"]["Source"]


def commit(root: Path = ROOT) -> str:
    """Return the commit that is checked out.

    Raises:
        SystemExit: Files of the repository were changed since.
    """
    if git("status", "--porcelain", "--untracked-files=no", root=root):
        raise SystemExit("provenance: commit the changes first")
    return git("rev-parse", "HEAD", root=root)


def git(*arguments: str, root: Path) -> str:
    """Ask git."""
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each distribution."""
    files = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def statement(digests: dict[str, str], revision: str) -> dict[str, Any]:
    """Return the statement: these files, of this commit, by this command."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": sha}} for name, sha in digests.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{SOURCE}/blob/main/.ci/release",
                "externalParameters": {"command": "bash .ci/release"},
                "resolvedDependencies": [
                    {"uri": f"git+{SOURCE}", "digest": {"gitCommit": revision}}
                ],
            },
            "runDetails": {"builder": {"id": f"{SOURCE}/blob/main/docs/releasing.md"}},
        },
    }


def main(folder: Path) -> None:
    """Write both files beside the distributions."""
    digests = sums(folder)
    if not digests:
        raise SystemExit(f"provenance: no distributions in {folder}; run make dist")
    lines = [f"{sha}  {name}\n" for name, sha in digests.items()]
    (folder / "SHA256SUMS").write_text("".join(lines), "utf-8")
    text = json.dumps(statement(digests, commit()), indent=2) + "\n"
    (folder / "provenance.intoto.json").write_text(text, "utf-8")
    sys.stdout.write("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
