"""Speech events with all that an event of the core has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechData, SpeechEvent, SpeechEventType

from cartesia_ink_plugins.core.events import Final, Interim, TurnEvent

# LiveKit has fields for these; every other one, also one that is yet to come, is metadata.
_PLACED = {
    "type",
    "transcript",
    "text",
    "words",
    "language",
    "timing",
    "speech_start",
    "speech_end",
}


@dataclass
class InkSpeechEvent(SpeechEvent):
    """A speech event that also has what LiveKit has no field for.

    Attributes:
        metadata: Such as `request_id`, `turn`, and `position` in seconds of the stream. Transcripts
            have it in their data, too, as `SpeechData.metadata`; other events have no data.
    """

    metadata: dict[str, Any] = field(default_factory=dict)


def boundary(kind: SpeechEventType, event: TurnEvent | Interim | Final) -> InkSpeechEvent:
    """The start or the end of speech."""
    return InkSpeechEvent(type=kind, request_id=event.request_id or "", metadata=_metadata(event))


def transcript(
    kind: SpeechEventType,
    event: TurnEvent | Interim | Final,
    text: str,
    language: LanguageCode,
    epoch: float,
) -> InkSpeechEvent:
    """A transcript with its times, counted as LiveKit does, where 0 means unknown.

    Args:
        kind: Of the transcript.
        event: What it is made of.
        text: Its text.
        language: What it is labelled with.
        epoch: Wall-clock time that is 0 in the times of transcripts.
    """
    speech = boundary(kind, event)
    data = SpeechData(language=language, text=text, metadata=speech.metadata)
    if timing := event.timing:
        data.start_time, data.end_time = (
            max(time - epoch, 0.0) if time is not None else 0.0
            for time in (timing.speech_start, timing.speech_end)
        )
    speech.alternatives = [data]
    return speech


def _metadata(event: TurnEvent | Interim | Final) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for source in (event, event.timing):
        for name in getattr(source, "__dataclass_fields__", ()):
            values[name] = getattr(source, name)
        values |= values.pop("extra", {})  # fields of the message that the core does not know
    return {
        name: value for name, value in values.items() if value is not None and name not in _PLACED
    }
