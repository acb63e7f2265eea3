"""What the manual endpoint says becomes speech events: one mapping, no clock, no socket.

    first words     START_OF_SPEECH
    Interim         INTERIM_TRANSCRIPT
    Final           FINAL_TRANSCRIPT       also an empty one, because a flush waits for it
                    END_OF_SPEECH          if there were words

Who detects turns here is the session, by its VAD, its turn detector or its user.
"""

from __future__ import annotations

from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechData, SpeechEvent, SpeechEventType
from livekit.agents.types import TimedString

from cartesia_ink_plugins.core.events import Final, Interim, Timing, Word


class ManualSpeechEvents:
    """Maps the finals of one stream, in order."""

    def __init__(self, *, language: LanguageCode, offset: float, epoch: float) -> None:
        """Begin before the first word.

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
        """Whether there are words that are not final yet."""
        return self._speaking

    def of(self, event: Interim | Final) -> list[SpeechEvent]:
        """The speech events of one event."""
        events: list[SpeechEvent] = []
        if event.text and not self._speaking:
            self._speaking = True
            start = event.timing.speech_start if event.timing else None
            events.append(self._event(SpeechEventType.START_OF_SPEECH, event))
            events[-1].speech_start_time = start
        if isinstance(event, Interim):
            return [*events, self._transcript(SpeechEventType.INTERIM_TRANSCRIPT, event)]
        events.append(self._transcript(SpeechEventType.FINAL_TRANSCRIPT, event))
        if self._speaking:
            self._speaking = False
            events.append(self._event(SpeechEventType.END_OF_SPEECH, event))
            events[-1].speech_end_time = event.timing.speech_end if event.timing else None
        return events

    def _event(self, kind: SpeechEventType, event: Interim | Final) -> SpeechEvent:
        return SpeechEvent(type=kind, request_id=event.request_id or "")

    def _transcript(self, kind: SpeechEventType, event: Interim | Final) -> SpeechEvent:
        data = SpeechData(language=self.language, text=event.text)
        data.metadata = {"request_id": event.request_id} if event.request_id else {}
        if event.timing:
            data.metadata["turn"] = event.timing.turn
            data.start_time, data.end_time = self._times(event.timing)
        if isinstance(event, Final):
            data.metadata["complete"] = event.is_complete
            data.words = [self._word(word) for word in event.words] or None
            if event.language:
                data.language = LanguageCode(event.language)
        speech = self._event(kind, event)
        speech.alternatives = [data]
        return speech

    def _times(self, timing: Timing) -> tuple[float, float]:
        """Times as LiveKit counts them in transcripts, where 0 means unknown."""
        start, end = (
            max(time - self._epoch, 0.0) if time is not None else 0.0
            for time in (timing.speech_start, timing.speech_end)
        )
        return start, end

    def _word(self, word: Word) -> TimedString:
        start, end = word.start + self._offset, word.end + self._offset
        return TimedString(word.word, start_time=start, end_time=end)
