"""An engine of the local server that hears whatever the test tells it to hear, when it tells it."""

from __future__ import annotations

from collections.abc import Sequence

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.server.engine import Emit, Outgoing, TurnThresholds


class Prompter:
    """Hears what it is told, so a page on a slow machine sees the same call.

    Attributes:
        audio: What the connections have sent.
    """

    def __init__(self) -> None:
        self.audio = b""
        self._emit: Emit | None = None

    def hears(self, *messages: Outgoing) -> None:
        """Tell the last connection."""
        assert self._emit, "nobody has connected"
        self._emit(messages)

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> Prompter:
        self._emit = emit
        return self

    def receive_audio(self, pcm: bytes) -> None:
        """Audio tells nothing here; it is kept."""
        self.audio += pcm

    def configure(self, settings: TurnThresholds) -> None:
        """Nor do thresholds."""

    async def close(self) -> None:
        """There is nothing to flush."""

    def abort(self) -> None:
        """There is nothing to free."""

    async def aclose(self) -> None:
        """There is nothing to free."""
