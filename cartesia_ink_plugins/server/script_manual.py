"""The manual endpoint and whole files of the script engine; times are positions in the audio."""

from __future__ import annotations

from collections.abc import Sequence

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Transcript, Word
from cartesia_ink_plugins.server.coded_speech import SILENT, WORD_SECONDS, CodedWord, WordReader
from cartesia_ink_plugins.server.manual_engine import (
    ManualEmit,
    ManualRequest,
    split_into_deltas,
)
from cartesia_ink_plugins.server.script_turns import ScriptTiming


class ScriptManualStream:
    """Recognizes the coded speech of one connection to the manual endpoint.

    ink-2 emits deltas during speech, split anywhere. ink-whisper waits for `finalize` or for
    silence and then emits one transcript, with word times.
    """

    def __init__(
        self,
        request: ManualRequest,
        emit: ManualEmit,
        *,
        vocabulary: Sequence[str],
        timing: ScriptTiming,
    ) -> None:
        """Open the stream.

        Args:
            request: The request of the connection.
            emit: Sends transcripts.
            vocabulary: The text of each coded word, by its index.
            timing: Sizes of the deltas, and the silence that ends them.
        """
        self._request = request
        self._emit = emit
        self._vocabulary = vocabulary
        self._sizes = timing.delta_sizes
        self._reader = WordReader(request.format)
        seconds = timing.finalize_after if request.max_silence is None else request.max_silence
        self._silence_frames = max(1, round(seconds / self._reader.frame_seconds))
        self._frames = self._silent = self._since = self._sent = 0
        self._text = ""
        self._word_times: list[Word] = []
        self._has_text = False

    def receive_audio(self, pcm: bytes) -> None:
        """Process audio."""
        for value in self._reader.read(pcm):
            self._frames += 1
            if value == SILENT:
                self._silent += 1
                if self._silent == self._silence_frames:
                    self.flush()
                continue
            self._silent = 0
            if isinstance(value, CodedWord) and value.index < len(self._vocabulary):
                self._word_recognized(self._vocabulary[value.index])

    async def finalize(self) -> None:
        """Flush."""
        self.flush()

    def flush(self) -> None:
        """Emit the text of all audio received."""
        if self._request.has_word_times:
            self._send_with_times()
        else:
            self._send(
                [Transcript(piece) for piece in split_into_deltas(self._text, self._next_sizes())]
            )
            self._text = ""

    def abort(self) -> None:
        """Emit nothing more."""
        self._emit = _discard

    def _word_recognized(self, word: str) -> None:
        word = word if self._has_text else word.lstrip()
        self._text += word
        self._has_text = True
        if self._request.has_word_times:
            end = self._frames * self._reader.frame_seconds
            start = max(0.0, end - WORD_SECONDS)
            self._word_times.append(Word(word.rstrip(), round(start, 3), round(end, 3)))
            return
        while len(self._text) > (size := self._sizes[self._sent % len(self._sizes)]):
            delta, self._text = self._text[:size], self._text[size:]
            self._send([Transcript(delta)])

    def _send_with_times(self) -> None:
        """Emit one transcript with duration, language and word times."""
        text, self._text = self._text, ""
        word_times, self._word_times = tuple(self._word_times), []
        since, self._since = self._since, self._frames
        if text:
            duration = round((self._frames - since) * self._reader.frame_seconds, 3)
            self._send(
                [
                    Transcript(
                        text, duration=duration, language=self._request.language, words=word_times
                    )
                ]
            )

    def _send(self, transcripts: Sequence[Transcript]) -> None:
        self._sent += len(transcripts)
        if transcripts:
            self._emit(transcripts)

    def _next_sizes(self) -> Sequence[int]:
        at = self._sent % len(self._sizes)
        return (*self._sizes[at:], *self._sizes[:at])


def transcribe_script(
    format: AudioFormat, pcm: bytes, language: str, vocabulary: Sequence[str], timing: ScriptTiming
) -> Transcript:
    """Transcribe a whole file of coded speech."""
    transcripts: list[Transcript] = []
    request = ManualRequest(model="ink-whisper", format=format, language=language, max_silence=1e6)
    stream = ScriptManualStream(request, transcripts.extend, vocabulary=vocabulary, timing=timing)
    stream.receive_audio(pcm)
    stream.flush()
    return Transcript(
        "".join(transcript.text for transcript in transcripts),
        duration=format.seconds(len(pcm)),
        language=language,
        words=tuple(word for transcript in transcripts for word in transcript.words),
    )


def _discard(messages: Sequence[Transcript]) -> None:
    """Send nothing: the connection is lost."""
