"""Changes of the options in mid-session: what was asked for, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.link import Action, LinkState
from cartesia_ink_plugins.core.options import TurnSettings, TurnsOptions, check_keyterms

_ANSWER_WITHIN = 5.0


class Changes:
    """The options as they are now, and the change that may yet be refused."""

    __slots__ = ("_before", "_changed_at", "_missed", "options")

    def __init__(self, options: TurnsOptions) -> None:
        """Begin with what the user set."""
        self.options = options
        self._before: TurnSettings | None = None
        self._changed_at = 0.0
        self._missed = False

    def configure(self, changes: TurnSettings, now: float, state: LinkState) -> list[Action]:
        """Lay changes over the thresholds.

        Returns:
            The `config` message that tells an open connection; none when nothing was changed.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        before = self.options.turn
        self.options = replace(self.options, turn=before.updated(changes))
        if not changes.config():
            return []
        self._before, self._changed_at = before, now
        # The URL of an attempt that is under way may be written already.
        self._missed = self._missed or state is LinkState.DIALLING
        return [_message(changes)] if state is LinkState.OPEN else []

    def expect(self, keyterms: Sequence[str]) -> bool:
        """Change the keyterms; they take effect with a new connection.

        Returns:
            Whether they are others than before.

        Raises:
            UsageError: There are too many.
        """
        terms = check_keyterms(keyterms)
        changed = terms != tuple(self.options.keyterms)
        self.options = replace(self.options, keyterms=terms)
        return changed

    def opened(self, now: float) -> list[Action]:
        """Tell a new connection what its URL may lack."""
        missed, self._missed = self._missed, False
        if not missed:
            return []
        self._changed_at = now
        return [_message(self.options.turn)]

    def accepted(self, opened_at: float) -> None:
        """A connection was accepted with all that stood in its URL."""
        if self._changed_at < opened_at:
            self._before = None

    def revert(self, now: float, *, connected: bool) -> bool:
        """Go back to the former thresholds, if the last change may be what the server refuses.

        Args:
            now: When it refuses something.
            connected: Whether it has accepted the connection before; if not, it refuses the URL.
        """
        before, self._before = self._before, None
        if before is None or (connected and now - self._changed_at > _ANSWER_WITHIN):
            return False
        self.options = replace(self.options, turn=before)
        return True


def _message(settings: TurnSettings) -> str:
    """Write `config`: https://docs.cartesia.ai/api-reference/stt/turns/websocket."""
    return json.dumps({"type": "config", "turn": settings.config()})
