"""Every error of this package, and the one question asked of a failure: is it worth a retry?

    InkError
    ├── UsageError              you called us wrongly; also a ValueError
    │   ├── ClosedError         ... after the session was finished or closed
    │   └── MissingExtraError   ... without the packages that it needs
    ├── RejectedError            the server said no for good; trying again cannot help
    ├── TranscriptionError      a batch request failed after its retries
    └── TurnOrderError          a peer broke the order of turn events; never leaves the session

No error carries a credential or the user's words.
"""

from __future__ import annotations


class InkError(Exception):
    """Anything this package raises."""


class UsageError(InkError, ValueError):
    """An argument or a call is wrong; the message names the argument."""


class ClosedError(UsageError):
    """The session has been finished or closed and takes no more audio."""


class MissingExtraError(UsageError):
    """A package of an extra is not installed; the message says how to install it."""


class RejectedError(InkError):
    """The server rejects this session permanently.

    Attributes:
        status: HTTP status, or the status of the error message, when there was one.
        code: Machine-readable code such as `quota_exceeded`, when there was one.
        request_id: What to quote to Cartesia's support, when known.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Describe the refusal in one line."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class TranscriptionError(InkError):
    """A batch transcription failed.

    Attributes:
        status: HTTP status of the last answer; None when there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """Describe the failure in one line."""
        super().__init__(message)
        self.status = status


class TurnOrderError(InkError):
    """A turn event came in a state in which it is not allowed."""


def is_permanent(status: int) -> bool:
    """Tell whether a status means that the same request can never succeed.

    4xx is the client's fault and stays so; everything else may pass, and so may what is said of a
    connection (408, 421, 425), by a proxy (407) or of the load (429).
    See https://docs.cartesia.ai/use-the-api/api-conventions.
    """
    return 400 <= status < 500 and status not in (407, 408, 421, 425, 429)
