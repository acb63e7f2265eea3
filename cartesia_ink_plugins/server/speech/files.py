"""Recognition of audio that is all there: a file, or what was said up to a `finalize`.

Runs on a worker thread; knows nothing of streams and turns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.events import Transcript, Word
from cartesia_ink_plugins.server.speech.credible import credible, without_loop
from cartesia_ink_plugins.server.speech.ear import Resampler
from cartesia_ink_plugins.server.speech.features import FRAMES_PER_SECOND, SAMPLE_RATE, LogMel
from cartesia_ink_plugins.server.speech.onnx import VAD_SAMPLES, VAD_SECONDS, Voice
from cartesia_ink_plugins.server.speech.whisper import (
    AUDIO_FRAMES,
    LEAD_FRAMES,
    WINDOW_FRAMES,
    Whisper,
)

# A piece is cut in the quietest moment between the two; Whisper's window is a little longer.
_SHORTEST, _LONGEST = 8.0, 14.0
_VOICED = 0.5
_LEAST_SPEECH = 0.1
_TAIL = 0.2
_TOKENS_PER_SECOND = 9
_BEAMS = 5


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the audio, with the VAD's chance of speech for each of its steps."""

    start: int
    samples: Samples
    chances: list[float]

    @property
    def voiced(self) -> float:
        """Seconds of speech."""
        return sum(chance >= _VOICED for chance in self.chances) * VAD_SECONDS


class FileRecogniser:
    """Writes down whole recordings; thread-safe."""

    def __init__(self, whisper: Whisper) -> None:
        """Use this model."""
        self._whisper = whisper

    def __call__(self, voice: Voice, format: AudioFormat, pcm: bytes, language: str) -> Transcript:
        """Write a recording down; takes about a tenth of a second for each 10 s.

        Args:
            voice: A VAD of its own.
            format: Of the recording.
            pcm: The recording.
            language: What to call the language; the packaged model knows English.

        Returns:
            Text, words with times in seconds, duration and language.
        """
        samples = Resampler(format)(pcm, last=True)
        chances = [
            voice(samples[at : at + VAD_SAMPLES])
            for at in range(0, len(samples) - VAD_SAMPLES + 1, VAD_SAMPLES)
        ]
        words: list[Word] = []
        for piece in _pieces(samples, chances):
            words += self._words(piece)
        text = "".join(word.word for word in words).lstrip()
        if words:
            words[0] = Word(words[0].word.lstrip(), words[0].start, words[0].end)
        return Transcript(
            text, duration=format.seconds(len(pcm)), language=language, words=tuple(words)
        )

    def _words(self, piece: _Piece) -> list[Word]:
        if piece.voiced < _LEAST_SPEECH:
            return []
        mel = LogMel()
        tail = np.zeros(round(_TAIL * SAMPLE_RATE), np.float32)
        mel.append(np.concatenate((piece.samples, tail)))
        frames = min(len(mel), AUDIO_FRAMES)
        heard = self._whisper.encode(mel.whisper(0, frames, WINDOW_FRAMES, lead=LEAD_FRAMES))
        most = 8 + round(_TOKENS_PER_SECOND * len(piece.samples) / SAMPLE_RATE)
        decoded = self._whisper.decode(heard, max_tokens=most, beams=_BEAMS)
        text = self._whisper.text(decoded.tokens)
        if without_loop(text, piece.voiced) != text:
            # One beam loops less, but hears worse: what was there first may be lost in a loop.
            decoded = self._whisper.decode(heard, max_tokens=most, beams=1)
            text = without_loop(self._whisper.text(decoded.tokens), piece.voiced)
            decoded = replace(decoded, tokens=self._whisper.first(decoded.tokens, len(text)))
        if not credible(text, decoded, piece.voiced, after_text=False):
            return []
        ends = self._whisper.word_times(heard, decoded.tokens, frames + LEAD_FRAMES)
        return self._timed(piece, decoded.tokens, ends)

    def _timed(self, piece: _Piece, tokens: tuple[int, ...], ends: list[int]) -> list[Word]:
        """Gather tokens to words; a word has no silence before it or behind it."""
        spans: list[tuple[str, float]] = []
        for token, frame in zip(tokens, ends, strict=True):
            text = self._whisper.text((token,))
            seconds = max(0.0, (frame - LEAD_FRAMES) / FRAMES_PER_SECOND)
            if spans and not text.startswith(" "):
                before, earlier = spans[-1]
                spans[-1] = (before + text, max(earlier, seconds))
            else:
                spans.append((text if text.startswith(" ") else f" {text}", seconds))
        words: list[Word] = []
        begin = 0.0
        offset = piece.start / SAMPLE_RATE
        length = len(piece.samples) / SAMPLE_RATE
        for text, span_end in spans:
            end = min(max(span_end, begin), length)
            start = min(_speech_after(piece.chances, begin), end)
            stop = max(start, _speech_before(piece.chances, end))
            words.append(Word(text, round(offset + start, 3), round(offset + stop, 3)))
            begin = end
        return words


def _speech_after(chances: list[float], seconds: float) -> float:
    """When speech is first heard, from a time on."""
    for step in range(int(seconds / VAD_SECONDS), len(chances)):
        if chances[step] >= _VOICED:
            return max(seconds, step * VAD_SECONDS)
    return seconds


def _speech_before(chances: list[float], seconds: float) -> float:
    """When speech was last heard, up to a time."""
    for step in range(min(int(seconds / VAD_SECONDS), len(chances) - 1), -1, -1):
        if chances[step] >= _VOICED:
            return min(seconds, (step + 1) * VAD_SECONDS)
    return 0.0


def _pieces(samples: Samples, chances: list[float]) -> list[_Piece]:
    """Cut the audio where nobody speaks, or where it sounds least like speech."""
    pieces: list[_Piece] = []
    shortest, longest = round(_SHORTEST / VAD_SECONDS), round(_LONGEST / VAD_SECONDS)
    start = 0
    while start < len(chances):
        end = len(chances)
        if end - start > longest:
            window = chances[start + shortest : start + longest]
            end = start + shortest + int(np.argmin(window))
        part = samples[start * VAD_SAMPLES : end * VAD_SAMPLES]
        if end == len(chances):
            part = samples[start * VAD_SAMPLES :]
        pieces.append(_Piece(start * VAD_SAMPLES, part, chances[start:end]))
        start = end
    return pieces
