"""Models that remember: the same question about the same audio is answered once, on any run.

A change of the decision then costs no second recognition, only the VAD and what decides.
"""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cartesia_ink_plugins.server.speech.features import Features
from cartesia_ink_plugins.server.speech.onnx import SmartTurn
from cartesia_ink_plugins.server.speech.whisper import Whisper


class Memo:
    """What was answered, in a file; for one thread."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(file)
        self._base.execute("CREATE TABLE IF NOT EXISTS memo (key BLOB PRIMARY KEY, value BLOB)")
        self._unsaved = 0

    def __call__(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was made for a key, or what is made of it now."""
        digest = hashlib.sha256(repr(key).encode()).digest()
        row = self._base.execute("SELECT value FROM memo WHERE key = ?", (digest,)).fetchone()
        if row:
            return pickle.loads(row[0])
        value = make()
        self._base.execute("INSERT INTO memo VALUES (?, ?)", (digest, pickle.dumps(value)))
        self._unsaved += 1
        if self._unsaved % 500 == 0:
            self._base.commit()
        return value

    def save(self) -> None:
        """Write down what is new."""
        self._base.commit()


class _Heard:
    """Features that are encoded when somebody needs it."""

    def __init__(self, features: Features, encode: Callable[[Features], Any]) -> None:
        self.digest = _digest(features)
        self._features = features
        self._encode = encode
        self._encoded: Any = None

    @property
    def encoded(self) -> Any:
        if self._encoded is None:
            self._encoded = self._encode(self._features)
        return self._encoded


class MemoWhisper(Whisper):
    """A Whisper that remembers its answers."""

    __slots__ = ("_memo",)

    def __init__(self, folder: Path, memo: Memo) -> None:
        """Load a model, and remember there."""
        super().__init__(folder, parallel=1)
        self._memo = memo

    def encode(self, features: Features) -> Any:
        """Encode when it is needed."""
        return _Heard(features, super().encode)

    def decode(self, heard: Any, **options: Any) -> Any:
        """What was decoded, or is."""
        key = ("decode", heard.digest, sorted(options.items()))
        ask = super().decode
        return self._memo(key, lambda: ask(heard.encoded, **options))

    def after(self, heard: Any, tokens: tuple[int, ...]) -> Any:
        """What follows a text."""
        ask = super().after
        return self._memo(("after", heard.digest, tokens), lambda: ask(heard.encoded, tokens))

    def word_times(self, heard: Any, tokens: tuple[int, ...], frames: int) -> Any:
        """When the tokens of a text are over."""
        key = ("times", heard.digest, tokens, frames)
        ask = super().word_times
        return self._memo(key, lambda: ask(heard.encoded, tokens, frames))


class MemoSmartTurn(SmartTurn):
    """A smart-turn that remembers its answers."""

    __slots__ = ("_memo",)

    def __init__(self, session: Any, memo: Memo) -> None:
        """Use a session, and remember there."""
        super().__init__(session)
        self._memo = memo

    def __call__(self, features: Features) -> float:
        """The chance, 0 to 1, that the turn is complete."""
        ask = super().__call__
        return float(self._memo(("smart-turn", _digest(features)), lambda: ask(features)))


def _digest(features: Features) -> bytes:
    return hashlib.sha256(features.tobytes()).digest()
