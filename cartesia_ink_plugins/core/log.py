"""Log lines that tell which session they are about."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, TypeAlias

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"

LOGGER_NAME = "cartesia_ink_plugins"
_MAX_CHARACTERS = 300  # of a message of the server in one line, so that no peer fills a disk


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with the id of a session."""

    def __init__(self, session_id: str) -> None:
        """Log for one session."""
        super().__init__(logging.getLogger(LOGGER_NAME), {"session": session_id})
        self._prefix = f"[{session_id}] "

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        """Put the id in front."""
        return f"{self._prefix}{msg}", kwargs


def one_line(text: object) -> str:
    """Return foreign text as one printable line of at most 300 characters."""
    line = printable(str(text)[: _MAX_CHARACTERS + 1])
    return line if len(line) <= _MAX_CHARACTERS else f"{line[: _MAX_CHARACTERS - 1]}…"


def printable(text: str) -> str:
    """Return text as one line in which all that is no text is escaped, so that no terminal acts."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
