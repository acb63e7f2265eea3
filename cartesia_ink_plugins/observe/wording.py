"""The user's words in a recording: as they are, as codes, or not at all."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from typing import Any

from cartesia_ink_plugins.core.json_text import encodable, json_object
from cartesia_ink_plugins.core.log import LOGGER_NAME
from cartesia_ink_plugins.observe.options import RecordOptions

logger = logging.getLogger(LOGGER_NAME)

_WORD = re.compile(r"\w+")
_CODE_BYTES = 4  # of a word's code: 8 hexadecimal digits
# Members of a message that never hold words of the user.
_PLAIN = frozenset(
    "type request_id language is_final duration start end status_code error_code code event "
    "outcome reason title".split()
)


class Wording:
    """What is written in place of the user's words."""

    __slots__ = ("_failed", "_key", "_options")

    def __init__(self, options: RecordOptions) -> None:
        """Use a key that is written nowhere, so that codes cannot be looked up."""
        self._options = options
        self._key = secrets.token_bytes(16)
        self._failed = False

    def text(self, text: str) -> str:
        """Return what is recorded in place of a text."""
        options = self._options
        if options.text == "none":
            return ""
        if options.redact is not None:
            try:
                text = options.redact(text)
            except Exception:
                if not self._failed:
                    self._failed = True
                    logger.exception("redact failed; such text is left out of the recording")
                return ""
        return text if options.text == "full" else _WORD.sub(self._code, text)

    def message(self, data: str | bytes) -> Any:
        """Return what is recorded in place of a message of the server: JSON as an object."""
        if isinstance(data, bytes):
            return {"bytes": len(data)}
        fields = json_object(data)
        return self.text(encodable(data)) if fields is None else self.value(encodable(fields))

    def value(self, value: Any, name: str = "") -> Any:
        """Return what is recorded in place of a value of JSON, whose member has a name."""
        match value:
            case dict():
                return {key: self.value(member, key) for key, member in value.items()}
            case list() | tuple():
                return [self.value(member, name) for member in value]
            case str() if name not in _PLAIN:
                return self.text(value)
            case _:
                return value

    def _code(self, word: re.Match[str]) -> str:
        digest = hashlib.blake2s(word[0].encode(), key=self._key, digest_size=_CODE_BYTES)
        return digest.hexdigest()
