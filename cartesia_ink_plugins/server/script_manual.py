"""The script engine without turns: words are said when they are asked for, or while they come.

Everything happens on the clock of the audio, as in `script_ear`.
"""

from __future__ import annotations

from collections.abc import Sequence

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Transcript, Word
from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest, broken
from cartesia_ink_plugins.server.script_ear import ScriptTiming
from cartesia_ink_plugins.server.voice import SILENT, WORD_SECONDS, CodedWord, WordReader


class ScriptManualEar:
    """Hears one connection.

    ink-2 is quick: its deltas come while somebody speaks, broken anywhere. whisper waits for
    `finalize` or for silence, and then says everything at once, with words and times.
    """

    def __init__(
        self,
        request: ManualRequest,
        emit: ManualEmit,
        *,
        words: Sequence[str],
        timing: ScriptTiming,
    ) -> None:
        """Open the ear.

        Args:
            request: What the connection asks for.
            emit: Where messages go.
            words: What the coded words mean.
            timing: How they are heard.
        """
        self._request = request
        self._emit = emit
        self._words = words
        self._sizes = timing.delta_sizes
        self._reader = WordReader(request.format)
        seconds = timing.finalize_after if request.max_silence is None else request.max_silence
        self._silence_frames = max(1, round(seconds / self._reader.frame_seconds))
        self._frames = self._silent = self._since = self._told = 0
        self._text = ""
        self._heard: list[Word] = []
        self._spoken = False

    def hear(self, pcm: bytes) -> None:
        """Take the next audio bytes."""
        for value in self._reader.read(pcm):
            self._frames += 1
            if value == SILENT:
                self._silent += 1
                if self._silent == self._silence_frames:
                    self.flush()
                continue
            self._silent = 0
            if isinstance(value, CodedWord) and value.index < len(self._words):
                self._hear_word(self._words[value.index])

    async def finalize(self) -> None:
        """Say everything."""
        self.flush()

    def flush(self) -> None:
        """Say everything heard so far."""
        if self._request.has_words:
            self._tell_all()
        else:
            self._tell([Transcript(piece) for piece in broken(self._text, self._rest_of_sizes())])
            self._text = ""

    def abort(self) -> None:
        """Emit nothing more."""
        self._emit = _nobody

    def _hear_word(self, word: str) -> None:
        word = word if self._spoken else word.lstrip()
        self._text += word
        self._spoken = True
        if self._request.has_words:
            end = self._frames * self._reader.frame_seconds
            start = max(0.0, end - WORD_SECONDS)
            self._heard.append(Word(word.rstrip(), round(start, 3), round(end, 3)))
            return
        while len(self._text) > (size := self._sizes[self._told % len(self._sizes)]):
            delta, self._text = self._text[:size], self._text[size:]
            self._tell([Transcript(delta)])

    def _tell_all(self) -> None:
        """Say one transcript with everything that whisper knows."""
        text, self._text = self._text, ""
        words, self._heard = tuple(self._heard), []
        since, self._since = self._since, self._frames
        if text:
            duration = round((self._frames - since) * self._reader.frame_seconds, 3)
            self._tell(
                [Transcript(text, duration=duration, language=self._request.language, words=words)]
            )

    def _tell(self, transcripts: Sequence[Transcript]) -> None:
        self._told += len(transcripts)
        if transcripts:
            self._emit(transcripts)

    def _rest_of_sizes(self) -> Sequence[int]:
        at = self._told % len(self._sizes)
        return (*self._sizes[at:], *self._sizes[:at])


def transcribe_script(
    format: AudioFormat, pcm: bytes, language: str, words: Sequence[str], timing: ScriptTiming
) -> Transcript:
    """Write down a whole file of coded speech."""
    said: list[Transcript] = []
    request = ManualRequest(model="ink-whisper", format=format, language=language, max_silence=1e6)
    ear = ScriptManualEar(request, said.extend, words=words, timing=timing)
    ear.hear(pcm)
    ear.flush()
    return Transcript(
        "".join(transcript.text for transcript in said),
        duration=format.seconds(len(pcm)),
        language=language,
        words=tuple(word for transcript in said for word in transcript.words),
    )


def _nobody(messages: Sequence[Transcript]) -> None:
    """Take the place of a connection that is gone."""
