"""What observes a call, as the application or the environment asks for it."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from cartesia_ink_plugins.core.log import LOGGER_NAME
from cartesia_ink_plugins.core.tap import Tap
from cartesia_ink_plugins.observe.options import Record, record_options
from cartesia_ink_plugins.observe.recorder import Recorder

_COMPLETE_TIMEOUT = 2.0  # seconds that the end of a call waits for its recording to be completed


class Call:
    """The observers of one call, which may have several clients, one after another or at once."""

    def __init__(self, record: Record | None = None) -> None:
        """Observe nothing yet.

        Args:
            record: Where to record it; by default as `INK_RECORD` says.

        Raises:
            UsageError: A value is wrong.
        """
        options = record_options(record)
        self._recorder = Recorder(options) if options is not None else None

    @property
    def recording(self) -> Path | None:
        """Where the call is recorded; None before it is, and where it is not."""
        return self._recorder.path if self._recorder else None

    @property
    def records_audio(self) -> bool:
        """Whether its sound is recorded."""
        return self._recorder is not None and self._recorder.options.audio

    def taps(self) -> tuple[Tap, ...]:
        """Return the taps for one more client."""
        return (self._recorder.tap(),) if self._recorder else ()

    def end(self) -> None:
        """The call is over; its recording is completed soon. May be called again."""
        if self._recorder is not None:
            self._recorder.close()

    async def aclose(self) -> None:
        """End, and wait for the recording, a little."""
        if self._recorder is not None:
            self._recorder.close()
            await asyncio.to_thread(self._recorder.close, _COMPLETE_TIMEOUT)


class CallMember:
    """What a client has to do with its call: without other clients the call ends with it."""

    __slots__ = ("_call", "_is_alone", "taps")

    def __init__(self, record: Record | None, call: Call | None) -> None:
        """Take part in a call, or begin one that is recorded as `record` says.

        Raises:
            UsageError: `record` is wrong.
        """
        self._call = call or Call(record)
        self._is_alone = call is None
        self.taps = self._call.taps()

    def end(self) -> None:
        """The client has ended; may be called again."""
        if self._is_alone:
            self._call.end()

    async def aclose(self) -> None:
        """The client has ended: wait for the recording, a little."""
        if self._is_alone:
            await self._call.aclose()


def environment_taps() -> list[Tap]:
    """Return the taps of a new session that nobody has to ask for in code.

    Telemetry: where the application, or a framework, has imported OpenTelemetry. Nobody can have
    configured it otherwise, and to import it costs time.
    """
    taps: list[Tap] = []
    if "opentelemetry.trace" in sys.modules and "opentelemetry.metrics" in sys.modules:
        try:
            from cartesia_ink_plugins.observe.telemetry.tap import telemetry_tap

            taps.append(telemetry_tap())
        except Exception:
            logging.getLogger(LOGGER_NAME).exception("OpenTelemetry cannot be used")
    return taps
