"""Turn events of the core become the speech events of LiveKit: one mapping, no clock, no socket.

    turn.start      START_OF_SPEECH        with the time at which the speech began
    turn.update     INTERIM_TRANSCRIPT     when the text changed
    turn.eager_end  PREFLIGHT_TRANSCRIPT   starts the reply; an INTERIM_TRANSCRIPT, which does not,
                                           if the words are the same or the policy is against it
    turn.resume     INTERIM_TRANSCRIPT     with the same words, which keeps the reply that has begun
    turn.end        FINAL_TRANSCRIPT       unless the turn has no words
                    END_OF_SPEECH          with the time at which the speech ended

A session whose turn detection is "stt" ends the user's turn at END_OF_SPEECH, and starts the reply
`min_delay` after the end of speech that END_OF_SPEECH tells, or after *now* when it tells none.
"""

from __future__ import annotations

from collections.abc import Callable

from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechEvent, SpeechEventType

from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.livekit.speech_data import boundary, transcript

_PUNCTUATION = str.maketrans("", "", ".,;:!?…")


class SpeechEvents:
    """Maps the turns of one stream, in order."""

    def __init__(
        self,
        *,
        language: LanguageCode,
        keep_min_delay: bool,
        epoch: float,
        should_speculate: Callable[[str], bool],
    ) -> None:
        """Begin before the first turn.

        Args:
            language: What the transcripts are labelled with.
            keep_min_delay: Leave the end of speech out of END_OF_SPEECH, so that the session waits
                for its `min_delay` after every turn.
            epoch: Wall-clock time that is 0 in the times of the transcripts.
            should_speculate: Whether to have the session begin a reply to a text.
        """
        self.language = language
        self._keep_min_delay = keep_min_delay
        self._epoch = epoch
        self._should_speculate = should_speculate
        self._text = ""
        self._replying_to: str | None = None
        self._speaking = False

    @property
    def speaking(self) -> bool:
        """Whether a turn is open."""
        return self._speaking

    def of(self, event: TurnEvent) -> list[SpeechEvent]:
        """The speech events of one turn event."""
        match event:
            case TurnStart():
                return [self._start(event)]
            case TurnUpdate(transcript=text):
                return self._interim(event, text)
            case TurnEagerEnd(transcript=text):
                return self._preflight(event, text)
            case TurnResume():
                return (
                    [self._transcript(SpeechEventType.INTERIM_TRANSCRIPT, event)]
                    if self._text
                    else []
                )
            case TurnEnd(transcript=text):
                return self._end(event, text)

    def interrupted(self, text: str, request_id: str | None) -> list[SpeechEvent]:
        """What is told of the open turn when another stream takes it over.

        A final without an end: the session joins it to the finals that follow, and answers once.

        Args:
            text: What of the turn the other stream is not going to recognize.
            request_id: Of the connection that recognized it.
        """
        self._text, self._replying_to = text, None
        known = TurnUpdate(text, request_id=request_id)
        return [self._transcript(SpeechEventType.FINAL_TRANSCRIPT, known)] if text else []

    def _start(self, event: TurnStart) -> SpeechEvent:
        self._text, self._replying_to, self._speaking = "", None, True
        start = boundary(SpeechEventType.START_OF_SPEECH, event)
        start.speech_start_time = event.timing.speech_start if event.timing else None
        return start

    def _interim(self, event: TurnEvent, text: str) -> list[SpeechEvent]:
        if not text or text == self._text:
            return []
        self._text = text
        return [self._transcript(SpeechEventType.INTERIM_TRANSCRIPT, event)]

    def _preflight(self, event: TurnEagerEnd, text: str) -> list[SpeechEvent]:
        text = text or self._text
        if not text:
            return []
        # With the same words, the session would throw away the reply it has and ask the LLM again.
        if _wording(text) == self._replying_to or not self._should_speculate(text):
            return self._interim(event, text)
        self._text, self._replying_to = text, _wording(text)
        return [self._transcript(SpeechEventType.PREFLIGHT_TRANSCRIPT, event)]

    def _end(self, event: TurnEnd, text: str) -> list[SpeechEvent]:
        self._text, self._replying_to, self._speaking = text, None, False
        end = boundary(SpeechEventType.END_OF_SPEECH, event)
        end.speech_end_time = None if self._keep_min_delay else _speech_end(event.timing)
        # A final without words would be waited on for an answer; the end alone resets the user.
        return [self._transcript(SpeechEventType.FINAL_TRANSCRIPT, event), end] if text else [end]

    def _transcript(self, kind: SpeechEventType, event: TurnEvent) -> SpeechEvent:
        speech = transcript(kind, event, self._text, self.language, self._epoch)
        if kind is not SpeechEventType.INTERIM_TRANSCRIPT:
            speech.speech_end_time = _speech_end(event.timing)
        return speech


def _speech_end(timing: Timing | None) -> float | None:
    return timing.speech_end if timing else None


def _wording(text: str) -> str:
    """What must be the same for the session to keep a reply: punctuation and case may differ."""
    return " ".join(text.translate(_PUNCTUATION).casefold().split())
