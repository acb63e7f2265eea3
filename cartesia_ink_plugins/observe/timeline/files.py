"""Writes pages; they hold what was said, so that only their owner may read them."""

from __future__ import annotations

import logging
from pathlib import Path

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.log import LOGGER_NAME
from cartesia_ink_plugins.observe.reader import RecordedAudio, RecordedCall, read_recording
from cartesia_ink_plugins.observe.timeline.model import build_timeline
from cartesia_ink_plugins.observe.timeline.page import call_page

logger = logging.getLogger(LOGGER_NAME)

_MODE = 0o600


def write_private(output: Path, text: str) -> None:
    """Write a file that only its owner may read.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        output.touch(mode=_MODE)
        output.write_text(text, "utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}") from None


def write_page(recording: Path, output: Path | None = None) -> Path:
    """Write the page of one call, and return where it is.

    Args:
        recording: The recording.
        output: Where the page is written; by default beside the recording.

    Raises:
        UsageError: The recording cannot be read, or the page not be written.
    """
    call = read_recording(recording)
    output = output or recording.with_suffix(".html")
    write_private(output, call_page(build_timeline(call), sound_of(call)))
    return output


def sound_of(call: RecordedCall) -> RecordedAudio | None:
    """The sound of a call; None where it has none, or where it cannot be read here."""
    try:
        return call.audio()
    except UsageError as error:
        logger.warning("the timeline is without sound: %s", error)
        return None
