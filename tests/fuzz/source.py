"""Where the inputs of the fuzzer come from: a corpus, and chance with a seed.

The same seed and number give the same input, in any process.
"""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

CORPUS = Path(__file__).with_name("corpus")
SECRET = "sk_fuzz_0123456789abcdef"
"""Is in the corpus, as a server may repeat it, and must be in nothing that is shown."""

_NUMBERS = (0, 1, -1, 0.5, 1e9, -1e308, 2**63, 10**400, float("nan"), float("inf"), float("-inf"))
_STRINGS = (
    "", " ", "\x00", "\x1b[2J", "\r\nX-Evil: 1", "\ud83d", "\ude00", "\u2028", "\u202e", "é", "😀",
    "turn.start", "turn.end", "error", "x" * 5000, SECRET, "null", "%s%n", "../..",
)  # fmt: skip
_BYTES = (b"", b"\x00", b"\xff" * 8, b"\r\n", b"\r\n\r\n", b"[" * 300, b"\x88\x02\x03\xe8", b"{}")
_FIELDS = ("type", "transcript", "text", "request_id", "words", "status_code", "code", "message")
_OPCODES = (0, 1, 2, 3, 7, 8, 9, 10, 11, 15)
T = TypeVar("T")


@cache
def lines(name: str) -> tuple[str, ...]:
    """The lines of a file of the corpus."""
    return tuple((CORPUS / f"{name}.txt").read_text(encoding="utf-8").splitlines())


class Source(Random):
    """Makes values of every kind; a `Random` with a seed."""

    def one_of(self, *choices: T) -> T:
        """One of these."""
        return choices[int(self.random() * len(choices))]

    def chance(self, share: float) -> bool:
        """True with a probability."""
        return self.random() < share

    def text(self) -> str:
        """Any text, also such as cannot be encoded."""
        if self.chance(0.6):
            return self.choice(_STRINGS)
        return "".join(chr(self.randrange(0x11000)) for _ in range(self.randrange(20)))

    def blob(self, most: int = 200) -> bytes:
        """Any bytes."""
        return self.choice(_BYTES) if self.chance(0.3) else self.randbytes(self.randrange(most))

    def value(self, depth: int = 0) -> Any:
        """A value of JSON of any type."""
        kind = self.randrange(8 if depth < 3 else 6)
        match kind:
            case 0 | 1:
                return self.text()
            case 2 | 3:
                return self.choice(_NUMBERS)
            case 4:
                return self.one_of(None, True, False)
            case 5:
                return _nested(self.choice((1, 30, 40, 400)), self.chance(0.5))
            case 6:
                return [self.value(depth + 1) for _ in range(self.randrange(4))]
            case _:
                return self.fields(depth + 1)

    def fields(self, depth: int = 0) -> dict[str, Any]:
        """An object of JSON, whose names are mostly those of the API."""
        names = [
            self.choice(_FIELDS) if self.chance(0.8) else self.text()
            for _ in range(self.randrange(5))
        ]
        return {name: self.value(depth + 1) for name in names}

    def line(self, *names: str) -> str:
        """A line of these files of the corpus: as it is, with other values, or damaged."""
        text = self.choice([line for name in names for line in lines(name)])
        if self.chance(0.3):
            return text
        if self.chance(0.5):
            return self._with_other_values(text)
        return self.damaged(text.encode()).decode("utf-8", self.one_of("replace", "ignore"))

    def damaged(self, data: bytes) -> bytes:
        """Bytes with some of them changed, cut, doubled or put in between."""
        out = bytearray(data)
        for _ in range(self.randrange(1, 4)):
            at, to = sorted((self.randrange(len(out) + 1), self.randrange(len(out) + 1)))
            match self.randrange(5):
                case 0 if out:
                    out[at % len(out)] ^= 1 << self.randrange(8)
                case 1:
                    del out[at:to]
                case 2:
                    out[at:at] = self.blob(20)
                case 3:
                    out[at:at] = out[at:to]
                case _:
                    out[at:to] = self.blob(20)
        return bytes(out[:100_000])

    def cut(self, data: bytes) -> list[bytes]:
        """Bytes in pieces, as a network may deliver them."""
        if self.chance(0.3):
            return [data]
        pieces, at = [], 0
        while at < len(data):
            size = self.one_of(1, 7, 1000, 65_536)
            pieces.append(data[at : at + size])
            at += size
            if len(pieces) > 200:
                pieces.append(data[at:])
                break
        return pieces

    def frame(self, payload: bytes) -> bytes:
        """A WebSocket frame, mostly as a server writes it."""
        if self.chance(0.6):
            first = 0x80 | self.one_of(1, 1, 1, 2, 9, 10)
        else:
            first = self.one_of(0, 0x80, 0x40, 0x70) | self.choice(_OPCODES)
        size = len(payload)
        claimed = size if self.chance(0.85) else self.choice((0, 125, 2**16, 2**20, 2**40, 2**63))
        mask = 0x80 if self.chance(0.05) else 0
        if claimed < 126:
            head = struct.pack("!BB", first, mask | claimed)
        elif claimed < 1 << 16:
            head = struct.pack("!BBH", first, mask | 126, claimed)
        else:
            head = struct.pack("!BBQ", first, mask | 127, claimed)
        return head + payload

    def _with_other_values(self, text: str) -> str:
        """A message with some of its fields replaced, removed or added."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if not isinstance(fields, dict):
            return json.dumps(self.value())
        for name in list(fields):
            if self.chance(0.05 if name == "type" else 0.25):
                fields[name] = self.value()
            elif self.chance(0.05):
                del fields[name]
        if self.chance(0.3):
            fields |= self.fields()
        return json.dumps(fields, ensure_ascii=self.chance(0.5)).replace("\ud83d", "\\ud83d")


def _nested(levels: int, lists: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value
