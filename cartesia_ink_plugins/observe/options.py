"""What is recorded of a call, and where."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cartesia_ink_plugins.core.errors import UsageError

SUFFIX = ".ink"
TEXTS = ("full", "hash", "none")


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What is recorded of a call, and where.

    Attributes:
        path: A folder, in which each call becomes a file named by its time; or, ending in `.ink`,
            the file of one call, which replaces an older one.
        text: Whether the user's words are recorded: `"full"`, `"hash"` (each word as a code, the
            same word with the same code within one recording) or `"none"`.
        audio: Whether sound is recorded.
        redact: Returns what is recorded in place of a text; called before hashing, in the thread
            that writes.
        last_seconds: Keep only so many seconds in memory, and write them, and all that follows,
            once something goes wrong: a lost connection, a gap, a withdrawn reply, a second
            interruption within that time. None records everything.
        max_megabytes: Size at which a recording ends; 10^6 bytes.
        keep_days: Older recordings in the folder are deleted when one begins; None deletes none.
    """

    path: str | os.PathLike[str]
    text: Literal["full", "hash", "none"] = "full"
    audio: bool = True
    redact: Callable[[str], str] | None = None
    last_seconds: float | None = None
    max_megabytes: float = 500.0
    keep_days: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not os.fspath(self.path):
            raise UsageError("record: the path is empty; give a folder or a name ending in .ink")
        if self.text not in TEXTS:
            raise UsageError(f"text: {self.text!r} is none of {', '.join(TEXTS)}")
        for name in ("last_seconds", "max_megabytes", "keep_days"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}: {value} is not positive")

    @property
    def folder(self) -> Path:
        """Where recordings are."""
        path = Path(self.path)
        return path.parent if path.suffix == SUFFIX else path

    def file(self, default_name: str) -> Path:
        """Return the path of a recording, named by its call where no name was given."""
        path = Path(self.path)
        return path if path.suffix == SUFFIX else path / f"{default_name}{SUFFIX}"


Record = RecordOptions | str | os.PathLike[str]
"""How an application says where to record."""


def record_options(record: Record | None) -> RecordOptions | None:
    """Return what the application, or else the environment, asks for; None records nothing.

    The environment: `INK_RECORD` is the path, `INK_RECORD_TEXT`, `INK_RECORD_AUDIO` (`0` for none),
    `INK_RECORD_LAST`, `INK_RECORD_MAX_MB` and `INK_RECORD_KEEP_DAYS` are the other attributes.

    Raises:
        UsageError: A value is wrong.
    """
    if isinstance(record, RecordOptions):
        return record
    if record is not None:
        return RecordOptions(record)
    path = os.environ.get("INK_RECORD")
    return _from_environment(path, os.environ) if path else None


def _from_environment(path: str, environment: Mapping[str, str]) -> RecordOptions:
    def number(name: str) -> float | None:
        value = environment.get(name)
        try:
            return float(value) if value else None
        except ValueError:
            raise UsageError(f"{name}: {value!r} is not a number") from None

    return RecordOptions(
        path,
        text=environment.get("INK_RECORD_TEXT") or "full",  # type: ignore[arg-type]
        audio=environment.get("INK_RECORD_AUDIO", "1").lower() not in ("0", "no", "false"),
        last_seconds=number("INK_RECORD_LAST"),
        max_megabytes=number("INK_RECORD_MAX_MB") or 500.0,
        keep_days=number("INK_RECORD_KEEP_DAYS"),
    )
