"""What both mappings have in common: the data of one event of the core."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechData

from cartesia_ink_plugins.core.events import Final, Interim, Timing, TurnEvent

# LiveKit has fields for these; every other one, also one that is yet to come, is metadata.
_PLACED = {"transcript", "text", "words", "language", "timing", "speech_start", "speech_end"}


def speech_data(
    event: TurnEvent | Interim | Final, text: str, language: LanguageCode
) -> SpeechData:
    """The data of an event, with no times: all that LiveKit has no field for is metadata."""
    values = _values(event)
    if event.timing is not None:
        values |= _values(event.timing)
    data = SpeechData(language=language, text=text)
    data.metadata = {
        name: value for name, value in values.items() if value is not None and name not in _PLACED
    }
    return data


def set_times(data: SpeechData, timing: Timing | None, epoch: float) -> None:
    """Set the times of a transcript as LiveKit counts them, where 0 means unknown.

    Args:
        data: The transcript.
        timing: Of its event.
        epoch: Wall-clock time that is 0 in the times of transcripts.
    """
    if timing is None:
        return
    data.start_time, data.end_time = (
        max(time - epoch, 0.0) if time is not None else 0.0
        for time in (timing.speech_start, timing.speech_end)
    )


def _values(event: object) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in fields(event)}  # type: ignore[arg-type]
