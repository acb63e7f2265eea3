"""Limits and behavior of the server; where that of the real service is not certain, a choice.

The defaults are what Cartesia documents or what was observed of its service. A bot that also works
with the other values does not depend on the uncertain points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cartesia_ink_plugins.core.errors import UsageError

Range: TypeAlias = tuple[float, float]  # lowest and highest valid value


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRanges:
    """The valid range of each threshold; the defaults are the documented ones.

    https://docs.cartesia.ai/api-reference/stt/turns/websocket
    """

    start: Range = (0.5, 0.9)
    eager_end: Range = (0.3, 0.8)
    end: Range = (0.05, 0.5)
    timeout_ms: Range = (640, 11200)


OLDER_RANGES = ThresholdRanges(eager_end=(0.3, 0.6))
"""The ranges documented until September 2026."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits and behavior of the server.

    Attributes:
        models: Models of the turns endpoint.
        manual_models: Models of the manual endpoint.
        batch_models: Models for whole files.
        answer_finalize: Whether `finalize` is answered with `flush_done`.
        max_file_bytes: Largest size of a file; a larger one is answered with 413.
        ranges: Lowest and highest value of each threshold; `OLDER_RANGES` are those of the service
            before September 2026.
        max_keyterms: Largest number of keyterms.
        max_keyterm_characters: Most characters of all keyterms together.
        reject_settings: Invalid settings are rejected inside the connection (`"message"`: an
            `error` instead of `connected`, then close 1008) or at the upgrade (`"http"`).
        reject_text: Whether unknown text ends the connection, with `error` 400 and close 1008.
        close_unused: `close` before any audio is answered with close 1000 (`"close"`) or with
            `error` 400 and close 1008 (`"error"`).
        idle_timeout: Seconds without audio until close 1001.
        request_timeout: Seconds within which the head of a request must arrive, and then its body.
        pings_are_activity: Whether a ping restarts the idle timeout.
        overload_rate: Sustained speed at which audio may arrive, as a multiple of real time.
        overload_seconds: Seconds of audio that may arrive at once beyond that; more is answered
            with `error` 500 and close 1011. None is no limit.
        max_streams: Most open connections; more are rejected with 429.
        extra_fields: Whether to send undocumented fields and message types, which the service may
            add at any time.
    """

    models: tuple[str, ...] = ("ink-2", "ink-preview")
    manual_models: tuple[str, ...] = ("ink-2", "ink-whisper", "ink-preview")
    batch_models: tuple[str, ...] = ("ink-whisper",)
    answer_finalize: bool = True
    max_file_bytes: int = 100 * 2**20
    ranges: ThresholdRanges = ThresholdRanges()
    max_keyterms: int = 100
    max_keyterm_characters: int = 1200
    reject_settings: Literal["message", "http"] = "message"
    reject_text: bool = True
    close_unused: Literal["close", "error"] = "close"
    idle_timeout: float = 180.0
    request_timeout: float = 30.0
    pings_are_activity: bool = False
    overload_rate: float = 3.0
    overload_seconds: float | None = 10.0
    max_streams: int | None = None
    extra_fields: bool = False

    def __post_init__(self) -> None:
        """Check the times and the limit of connections."""
        if not self.idle_timeout > 0:
            raise UsageError(f"idle_timeout: {self.idle_timeout:g} is not above 0 seconds")
        if not self.request_timeout > 0:
            raise UsageError(f"request_timeout: {self.request_timeout:g} is not above 0 seconds")
        if self.max_streams is not None and self.max_streams < 1:
            raise UsageError(f"max_streams: {self.max_streams} is below 1")
