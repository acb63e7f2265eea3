"""Errors of the core as the errors that LiveKit and its FallbackAdapter understand."""

from __future__ import annotations

from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from cartesia_ink_plugins.core.errors import RejectedError, TranscriptionError
from cartesia_ink_plugins.core.events import ConnectFailed, ErrorMessage
from cartesia_ink_plugins.livekit.log import logger


def failed_attempt(event: ConnectFailed, *, retryable: bool) -> APIError:
    """What is told of an attempt to connect that failed."""
    if event.status is not None:
        return APIStatusError(event.reason, status_code=event.status, retryable=retryable)
    kind = APITimeoutError if event.timed_out else APIConnectionError
    return kind(event.reason, retryable=retryable)


def error_message(error: ErrorMessage) -> APIStatusError:
    """What is told of an error that the server sends on an open connection."""
    return APIStatusError(error.message, status_code=error.status, request_id=error.request_id)


def rejection(refusal: RejectedError) -> APIError:
    """What means: do not try this again."""
    logger.error("rejected by Cartesia (status %s, code %s)", refusal.status, refusal.code)
    if refusal.status is None:
        return APIError(str(refusal), retryable=False)
    return APIStatusError(
        str(refusal),
        status_code=refusal.status,
        request_id=refusal.request_id,
        retryable=False,
    )


def failed_transcription(error: TranscriptionError) -> APIError:
    """What is told of a whole recording that could not be transcribed."""
    if error.status is None:
        return APIConnectionError(str(error))
    return APIStatusError(str(error), status_code=error.status)
