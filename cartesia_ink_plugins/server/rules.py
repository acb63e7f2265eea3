"""What the server is strict about; where the real service is not known for certain, both ways.

Every default is what Cartesia documents or what was observed of its service. A bot that works under
the other values too has nothing to fear from a change of the service, or from our being wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cartesia_ink_plugins.core.errors import UsageError

Range: TypeAlias = tuple[float, float]  # lowest and highest value, both allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRanges:
    """What a threshold may be; the defaults are the documented ranges.

    https://docs.cartesia.ai/api-reference/stt/turns/websocket
    """

    start: Range = (0.5, 0.9)
    eager_end: Range = (0.3, 0.8)
    end: Range = (0.05, 0.5)
    timeout_ms: Range = (640, 11200)


# As documented until September 2026; old clients still stay inside.
OLDER_RANGES = ThresholdRanges(eager_end=(0.3, 0.6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is accepted, and what happens to what is not.

    Attributes:
        models: Models that may be asked for with turns.
        manual_models: Models that may be asked for without.
        batch_models: Models that may be asked for with whole files.
        answer_finalize: Whether `finalize` is answered with `flush_done`.
        max_file_bytes: Size of a file; a larger one is answered with 413.
        ranges: Lowest and highest value of each threshold; `OLDER_RANGES` plays the service as it
            was before September 2026.
        max_keyterms: Number of keyterms.
        max_keyterm_characters: Characters of all keyterms together.
        refuse_settings: Invalid settings are answered inside the connection (`"message"`: an
            `error` instead of `connected`, then close 1008) or at the upgrade (`"http"`).
        refuse_text: Whether unknown text ends the connection, with `error` 400 and close 1008.
        close_unused: Closing without having sent audio is answered with close 1000 (`"close"`) or
            with an `error` 400 and close 1008 (`"error"`).
        idle_timeout: Seconds without audio until close 1001.
        request_timeout: Seconds that a request may take to arrive: its head, and then its body.
        pings_are_activity: Whether a ping starts the idle timeout anew.
        overload_rate: How many times faster than real time audio may come for ever.
        overload_seconds: How many seconds of audio may come at once on top of that; more is
            answered with `error` 500 and close 1011. None: audio may come at any speed.
        max_streams: Connections at a time; more are refused with 429.
        extra_fields: Whether messages carry fields, and messages of types come, that nobody
            documented, as they may at any time.
    """

    models: tuple[str, ...] = ("ink-2", "ink-preview")
    manual_models: tuple[str, ...] = ("ink-2", "ink-whisper", "ink-preview")
    batch_models: tuple[str, ...] = ("ink-whisper",)
    answer_finalize: bool = True
    max_file_bytes: int = 100 * 2**20
    ranges: ThresholdRanges = ThresholdRanges()
    max_keyterms: int = 100
    max_keyterm_characters: int = 1200
    refuse_settings: Literal["message", "http"] = "message"
    refuse_text: bool = True
    close_unused: Literal["close", "error"] = "close"
    idle_timeout: float = 180.0
    request_timeout: float = 30.0
    pings_are_activity: bool = False
    overload_rate: float = 3.0
    overload_seconds: float | None = 10.0
    max_streams: int | None = None
    extra_fields: bool = False

    def __post_init__(self) -> None:
        """Refuse rules under which nobody could be heard."""
        if not self.idle_timeout > 0:
            raise UsageError(f"idle_timeout: {self.idle_timeout:g} is not above 0 seconds")
        if not self.request_timeout > 0:
            raise UsageError(f"request_timeout: {self.request_timeout:g} is not above 0 seconds")
        if self.max_streams is not None and self.max_streams < 1:
            raise UsageError(f"max_streams: {self.max_streams} is below 1")
