r"""Secrets are taken out of whatever others send: one function, at the seam where it comes in.

A server that repeats a key may write it as it likes: as in a URL (`%5F`), as in JSON (`\u005f`), as
in HTML (`&#95;`), or each character in another way. So a secret is looked for in all of these at
once, before anything is cut, logged or given to the application.
"""

from __future__ import annotations

import html
import re

_SHORTEST = 6  # characters; what is shorter is no secret, and is found in ordinary words
_MOST = 8  # secrets that are kept: tokens change with every connection


class Redactor:
    """Takes the secrets of one client out of text."""

    __slots__ = ("_patterns",)

    def __init__(self, *secrets: str | None) -> None:
        """Look for these; None is no secret."""
        self._patterns: dict[str, re.Pattern[str]] = {}
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """Look for one more; of many, the oldest is forgotten."""
        if secret is None or len(secret) < _SHORTEST or secret in self._patterns:
            return
        self._patterns[secret] = re.compile("".join(map(_written, secret)))
        if len(self._patterns) > _MOST:
            del self._patterns[next(iter(self._patterns))]

    def __call__(self, text: str) -> str:
        """Return text with each secret replaced by `***`."""
        is_escaped = "\\" in text or "%" in text or "&" in text
        for secret, pattern in self._patterns.items():
            if is_escaped or secret in text:
                text = pattern.sub("***", text)
        return text

    def message(self, data: str | bytes) -> str | bytes:
        """Return a WebSocket message without secrets; what has none is returned as it is."""
        if isinstance(data, str):
            return self(data)
        return self(data.decode("latin-1")).encode("latin-1")


def _written(character: str) -> str:
    """Return a pattern for every way in which a character may be written."""
    code, escape = ord(character), r"\\{1,8}"  # JSON within JSON within JSON; bounded in time
    ways = [
        re.escape(character) if character.isalnum() else rf"(?:{escape})?{re.escape(character)}",
        *(re.escape(entity) for entity in [html.escape(character)] if entity != character),
        "".join(rf"%(?:25){{0,4}}(?i:{byte:02x})" for byte in character.encode(errors="replace")),
        rf"{escape}(?:u(?i:{code:04x})|u\{{0{{0,4}}(?i:{code:x})\}}|x(?i:{code:02x}))",
        rf"&\#(?:0{{0,6}}{code}|[xX]0{{0,6}}(?i:{code:x}));?",
    ]
    return f"(?:{'|'.join(ways)})"
