"""What the manual endpoint says becomes speech events: one mapping, no clock, no socket.

    first text      START_OF_SPEECH
    Interim         INTERIM_TRANSCRIPT
    Final           FINAL_TRANSCRIPT       also an empty one, because a flush waits for it
                    END_OF_SPEECH          if there was text

Who detects turns here is the session, by its VAD, its turn detector or its user.
"""

from __future__ import annotations

from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechEvent, SpeechEventType
from livekit.agents.types import TimedString

from cartesia_ink_plugins.core.events import Final, Interim, Word
from cartesia_ink_plugins.livekit.speech_data import boundary, transcript


class ManualSpeechEvents:
    """Maps the finals of one stream, in order."""

    def __init__(self, *, language: LanguageCode, offset: float, epoch: float) -> None:
        """Begin before the first text.

        Args:
            language: What the transcripts are labelled with, unless the model says it.
            offset: Seconds to be added to the times of words, which count from the first audio.
            epoch: Wall-clock time that is 0 in the times of the transcripts.
        """
        self.language = language
        self._offset = offset
        self._epoch = epoch
        self._speaking = False

    @property
    def speaking(self) -> bool:
        """Whether there is text that is not final yet."""
        return self._speaking

    def of(self, event: Interim | Final) -> list[SpeechEvent]:
        """The speech events of one event."""
        events: list[SpeechEvent] = []
        if event.text and not self._speaking:
            self._speaking = True
            start = event.timing.speech_start if event.timing else None
            events.append(boundary(SpeechEventType.START_OF_SPEECH, event))
            events[-1].speech_start_time = start
        if isinstance(event, Interim):
            return [*events, self._transcript(SpeechEventType.INTERIM_TRANSCRIPT, event)]
        events.append(self._transcript(SpeechEventType.FINAL_TRANSCRIPT, event))
        if self._speaking:
            self._speaking = False
            events.append(boundary(SpeechEventType.END_OF_SPEECH, event))
            events[-1].speech_end_time = event.timing.speech_end if event.timing else None
        return events

    def interrupted(self, text: str, request_id: str | None) -> list[SpeechEvent]:
        """What is told of the open segment when another stream takes it over.

        Args:
            text: What of the segment the other stream is not going to recognize.
            request_id: Of the connection that recognized it.
        """
        final = Final(text, is_complete=False, request_id=request_id)
        return [self._transcript(SpeechEventType.FINAL_TRANSCRIPT, final)] if text else []

    def _transcript(self, kind: SpeechEventType, event: Interim | Final) -> SpeechEvent:
        speech = transcript(kind, event, event.text, self.language, self._epoch)
        if isinstance(event, Final):
            [data] = speech.alternatives
            data.words = [self._word(word) for word in event.words] or None
            if event.language:
                data.language = LanguageCode(event.language)
        return speech

    def _word(self, word: Word) -> TimedString:
        start, end = word.start + self._offset, word.end + self._offset
        return TimedString(word.word, start_time=start, end_time=end)
