"""Settings that change in mid-session: what was asked for, and what the server made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.options import TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.validation import validated_keyterms

# Seconds after `config` within which an error of the server is taken for its rejection; the API
# documents no acknowledgement.
_REJECTION_WITHIN = 5.0


class PendingSettings:
    """The options in force, and the last change, which the server may still reject.

    Attributes:
        options: With all changes made so far.
    """

    __slots__ = ("_before", "_changed_at", "_is_missing", "options")

    def __init__(self, options: TurnsOptions) -> None:
        """Begin with what the user set."""
        self.options = options
        self._before: TurnSettings | None = None
        self._changed_at = 0.0
        self._is_missing = False  # in the URL of the attempt that is under way

    def configure(self, changes: TurnSettings, now: float, state: ConnectionState) -> str | None:
        """Change thresholds.

        Returns:
            The `config` message for an open connection; None when there is nothing to send.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        before = self.options.turn
        self.options = replace(self.options, turn=before.updated(changes))
        if not changes.config():
            return None
        if self._before is None or now - self._changed_at > _REJECTION_WITHIN:
            self._before = before  # else an earlier change may still be rejected with this one
        self._changed_at = now
        self._is_missing = self._is_missing or state is ConnectionState.CONNECTING
        return _message(changes) if state is ConnectionState.OPEN else None

    def update_keyterms(self, keyterms: Sequence[str]) -> bool:
        """Change the keyterms; they take effect with a new connection.

        Returns:
            Whether they differ from those before.

        Raises:
            UsageError: There are too many.
        """
        terms = validated_keyterms(keyterms)
        changed = terms != tuple(self.options.keyterms)
        self.options = replace(self.options, keyterms=terms)
        return changed

    def connection_opened(self, now: float) -> str | None:
        """Return the `config` message for what the URL of a new connection lacks."""
        is_missing, self._is_missing = self._is_missing, False
        if not is_missing:
            return None
        self._changed_at = now
        return _message(self.options.turn)

    def accepted(self, opened_at: float) -> None:
        """A connection was accepted with everything in its URL."""
        if self._changed_at < opened_at:
            self._before = None

    def revert(self, now: float, *, is_accepted: bool) -> bool:
        """Go back to the former thresholds, if an error may be the rejection of the last change.

        Args:
            now: When the error arrived.
            is_accepted: Whether the connection was accepted before; if not, its URL was rejected.

        Returns:
            Whether there was a change to take back.
        """
        before, self._before = self._before, None
        if before is None or (is_accepted and now - self._changed_at > _REJECTION_WITHIN):
            return False
        self.options = replace(self.options, turn=before)
        return True


def _message(settings: TurnSettings) -> str:
    """Write `config`: https://docs.cartesia.ai/api-reference/stt/turns/websocket."""
    return json.dumps({"type": "config", "turn": settings.config()})
