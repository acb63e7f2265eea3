"""Changes of the options in mid-session: what was asked for, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.options import TurnSettings, TurnsOptions, check_keyterms

_ANSWER_WITHIN = 5.0


class Changes:
    """The options as they are now, and the change that may yet be refused."""

    __slots__ = ("_before", "_changed_at", "options", "wants_redial")

    def __init__(self, options: TurnsOptions) -> None:
        """Begin with what the user set."""
        self.options = options
        self.wants_redial = False
        self._before: TurnSettings | None = None
        self._changed_at = 0.0

    def configure(self, changes: TurnSettings, now: float) -> str | None:
        """Lay changes over the thresholds.

        Returns:
            The `config` message that tells an open connection; None when nothing was changed.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        before = self.options.turn
        self.options = replace(self.options, turn=before.updated(changes))
        config = changes.config()
        if not config:
            return None
        self._before, self._changed_at = before, now
        return json.dumps({"type": "config", "turn": config})

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

    def accepted(self) -> None:
        """A new connection carries all settings in its URL: no `config` is under way."""
        self._before = None

    def revert(self, now: float) -> bool:
        """Go back to the former thresholds, if the last change may be what the server refuses."""
        before, self._before = self._before, None
        if before is None or now - self._changed_at > _ANSWER_WITHIN:
            return False
        self.options = replace(self.options, turn=before)
        return True
