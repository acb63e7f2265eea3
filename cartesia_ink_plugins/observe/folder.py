"""The files of one recording: a folder while it grows, one zip when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cartesia_ink_plugins.observe.options import SUFFIX

FORMAT_VERSION = 1
META, SESSION = "meta.json", "session.jsonl"
_PACKAGES = ("cartesia-ink-plugins", "livekit-agents", "numpy", "pipecat-ai", "websockets")
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_SECONDS_A_DAY = 86_400


class RecordingFolder:
    """Creates, completes and replaces the files; raises OSError where the disk does."""

    def __init__(self, path: Path) -> None:
        """Create an empty folder; an older recording of that name is replaced."""
        self.path = path
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        _remove(path)
        path.mkdir(mode=_FOLDER_MODE)
        self._lines = open(self.file(SESSION), "ab", buffering=0)  # noqa: SIM115
        self.size = 0

    def file(self, name: str) -> Path:
        """Create an empty file, which only its owner may read, and return its path."""
        path = self.path / name
        os.close(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, _FILE_MODE))
        return path

    def write_lines(self, lines: list[dict[str, Any]]) -> None:
        """Append lines; a crash of this process loses none of them."""
        data = b"".join(
            json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            for line in lines
        )
        written = self._lines.write(data)
        if written != len(data):
            raise OSError("the disk is full")
        self.size += len(data)

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Write `meta.json` anew."""
        temporary = self.file(f"{META}.new")
        temporary.write_text(json.dumps(meta, indent=1, ensure_ascii=False), "utf-8")
        temporary.replace(self.path / META)

    def sound_size(self) -> int:
        """Bytes of everything but the lines."""
        return sum(part.stat().st_size for part in self.path.iterdir()) - self.size

    def abandon(self) -> None:
        """Leave the folder as it is."""
        self._lines.close()

    def complete(self) -> None:
        """Make one zip of the folder, under its name."""
        self._lines.close()
        archive = self.path.with_name(f".{self.path.name}.zip")
        os.close(os.open(archive, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, _FILE_MODE))
        with zipfile.ZipFile(archive, "w") as file:
            for part in sorted(self.path.iterdir()):
                is_text = part.suffix in (".json", ".jsonl")
                method = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
                file.write(part, part.name, method)
        _remove(self.path)
        archive.replace(self.path)


@cache
def versions() -> Mapping[str, str]:
    """The versions of what takes part in a call."""
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def timestamp(epoch: float) -> str:
    """Return a wall-clock time, in seconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")


def remove_old(folder: Path, days: float) -> None:
    """Delete the recordings of a folder that have not been written to for so many days."""
    oldest = time.time() - days * _SECONDS_A_DAY
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            grows = path / SESSION if path.is_dir() else path
            if grows.stat().st_mtime < oldest:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        if not (path / SESSION).exists():
            raise OSError(f"{path} is a folder, and no recording")
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
