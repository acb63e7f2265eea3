"""What a check gives: one line, with what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is wrong
    WARNING = "warning"  # a call works, but worse, later or dearer than it could
    PROBLEM = "problem"  # a call fails
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: What was looked at, such as `tls`.
        status: How it is.
        message: What was found; no secret.
        advice: What to do; empty if nothing is to be done.
    """

    check: str
    status: Status
    message: str
    advice: str = ""

    def __str__(self) -> str:
        """One line for a terminal."""
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.status.value:<9}  {self.check:<14}  {self.message}{advice}"

    def fields(self) -> dict[str, str]:
        """The same for a machine."""
        return asdict(self)
