"""Whether an answer to an attempt to connect ends the session.

Before anything was accepted, the first answer counts: a wrong key should be told at once. Once a
connection was accepted, key and settings are known to be good, and much that stands between us and
the API answers in its place for a while: a load balancer during a deploy, a company's proxy, the
login page of a hotel. Then only the API's own error counts, or an answer that does not change.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.errors import is_permanent

_SAME_ANSWERS = 3  # a count
_SAME_FOR = 60.0  # seconds; a deploy is over by then, and the replay buffer is full


class Rejections:
    """Judges the answers that one session gets."""

    __slots__ = ("_count", "_since", "_status", "_was_accepted")

    def __init__(self) -> None:
        """Begin with nothing accepted."""
        self._was_accepted = False
        self._status: int | None = None
        self._since = 0.0
        self._count = 0

    def accepted(self) -> None:
        """A connection with these credentials and settings was accepted."""
        self._was_accepted = True
        self._status = None

    def is_final(self, status: int, now: float, *, is_api_error: bool) -> bool:
        """Take an answer; tell whether it ends the session.

        Args:
            status: HTTP status of the answer; 400 for a close in place of the acceptance.
            now: The time.
            is_api_error: Whether the answer is an error in the shape of the API.
        """
        if not is_permanent(status):
            self._status = None
            return False
        if is_api_error or not self._was_accepted:
            return True
        if status != self._status:
            self._status, self._since, self._count = status, now, 0
        self._count += 1
        return self._count >= _SAME_ANSWERS and now - self._since >= _SAME_FOR
