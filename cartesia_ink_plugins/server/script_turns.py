"""Turn detection of the script engine, which recognizes coded speech.

Times are positions in the audio, in frames of 10 ms: the same audio gives the same messages,
whatever the size and the speed of its chunks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.turn_table import TurnMachine, TurnState
from cartesia_ink_plugins.server.coded_speech import SILENT, CodedWord, Pause, WordReader
from cartesia_ink_plugins.server.cues import AT_CLOSE, Cue
from cartesia_ink_plugins.server.engine import Emit, Outgoing, TurnThresholds
from cartesia_ink_plugins.server.manual_engine import DELTA_SIZES

_MIN_SPEECH = 0.1  # seconds; a shorter sound is a click and starts no turn
_MIN_GAP = 0.3  # seconds of silence that separate two sounds while no turn is open


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTiming:
    """The delays of turn detection, in seconds of audio at the default thresholds.

    Other thresholds change the delays as in the real service: a higher eager threshold makes the
    eager end earlier, a lower end threshold makes the end later.

    Attributes:
        start_delay: From the onset of a sound to `turn.start`.
        eager_delay: Silence before `turn.eager_end`.
        end_delay: Silence before `turn.end`.
        resume_delay: Sound before `turn.resume`.
        word_delay: From the end of a word to its `turn.update`.
        word_gap: Silence between two words.
        eager_has_all: Whether `turn.eager_end` has all words before it, also those still delayed.
        update_after_eager: Whether delayed words may come in a `turn.update` between
            `turn.eager_end` and `turn.end`.
        delta_sizes: Characters of each delta of the manual endpoint, in turn.
        finalize_after: Silence before the manual endpoint sends its text without `finalize`.
    """

    start_delay: float = 0.15
    eager_delay: float = 0.3
    end_delay: float = 0.8
    resume_delay: float = 0.1
    word_delay: float = 0.0
    word_gap: float = 0.08
    eager_has_all: bool = True
    update_after_eager: bool = False
    delta_sizes: Sequence[int] = DELTA_SIZES
    finalize_after: float = 2.0

    def __post_init__(self) -> None:
        """Check the order of the delays."""
        if not 0 < self.word_gap < self.eager_delay < self.end_delay:
            raise UsageError("timing: must be 0 < word_gap < eager_delay < end_delay")
        if self.start_delay < 0 or self.resume_delay < 0 or self.word_delay < 0:
            raise UsageError("timing: a delay is below 0 seconds")
        if self.finalize_after <= 0 or not self.delta_sizes or min(self.delta_sizes) < 1:
            raise UsageError("timing: finalize_after and delta_sizes must be positive")

    @property
    def held_from(self) -> float:
        """The shortest pause, in seconds, that must be marked as held so that it ends no turn."""
        return self.end_delay - 0.05

    def silence(self, threshold: float) -> float:
        """Seconds of silence after which the likelihood of a turn is below `threshold`.

        The likelihood falls linearly: 0.6 after `eager_delay`, 0.3 after `end_delay`.
        """
        defaults = TurnThresholds()
        slope = (self.end_delay - self.eager_delay) / (defaults.eager_end - defaults.end)
        return max(0.05, self.eager_delay + (defaults.eager_end - threshold) * slope)


class ScriptTurnsStream:
    """Recognizes the coded speech of one connection to the turns endpoint."""

    def __init__(
        self,
        audio: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        vocabulary: Sequence[str],
        timing: ScriptTiming,
        cues: Sequence[Cue] = (),
    ) -> None:
        """Open the stream; cues at 0 s are sent at once.

        Args:
            audio: Format of the audio.
            thresholds: Thresholds of turn detection.
            emit: Sends messages.
            vocabulary: The text of each coded word, by its index.
            timing: Delays of turn detection.
            cues: The cues of this connection.
        """
        self._audio = audio
        self._emit = emit
        self._vocabulary = vocabulary
        self._timing = timing
        self._cues = deque(sorted((c for c in cues if c.at != AT_CLOSE), key=_position))
        self._close_cues = [cue for cue in cues if cue.at == AT_CLOSE]
        self._reader = WordReader(audio) if vocabulary or not cues else None
        self._turn = TurnMachine("script")
        self._out: list[Outgoing] = []
        self._received = 0
        self._frames = 0
        self._sounding = 0  # frames of sound since the last silence of at least _MIN_GAP
        self._since = 0  # frames since the onset of that sound
        self._silent = 0  # frames of silence since the last sound
        self._pause = Pause.PLAIN
        self._eager_sent = False
        self._pending: deque[tuple[int, str]] = deque()
        self._text = ""
        self._has_text = False  # whether a turn of this connection has ended with text
        self.configure(thresholds)
        self._send_cues(0.0)

    def configure(self, settings: TurnThresholds) -> None:
        """Change the thresholds."""
        timing, frame = self._timing, 0.01
        if self._reader is not None:
            frame = self._reader.frame_seconds
        start = timing.start_delay * settings.start / TurnThresholds().start
        self._start_frames = max(1, round(start / frame))
        self._eager_frames = round(timing.silence(settings.eager_end) / frame)
        self._end_frames = round(timing.silence(settings.end) / frame)
        self._timeout_frames = round(settings.timeout_ms / 1000 / frame)
        self._resume_frames = max(1, round(timing.resume_delay / frame))
        self._delay_frames = round(timing.word_delay / frame)
        self._speech_frames = round(_MIN_SPEECH / frame)
        self._gap_frames = round(_MIN_GAP / frame)

    def receive_audio(self, pcm: bytes) -> None:
        """Process audio."""
        self._received += len(pcm)
        if self._reader is not None:
            seconds = self._reader.frame_seconds
            for value in self._reader.read(pcm):
                self._frames += 1
                if self._cues:
                    self._send_cues(self._frames * seconds)
                if value == SILENT:
                    self._silent_frame()
                else:
                    self._sound_frame(value)
                if self._pending:
                    self._update()
                if self._out:
                    self._send()
        if self._cues:
            self._send_cues(self._audio.seconds(self._received))

    def flush(self) -> None:
        """Send the cues of `close` and end an open turn."""
        for cue in self._close_cues:
            self._emit(cue.messages)
        if self._turn.state is not TurnState.IDLE:
            self._end_turn()
            self._send()

    async def close(self) -> None:
        """Flush."""
        self.flush()

    def abort(self) -> None:
        """Emit nothing more."""
        self._emit = _discard
        self._cues.clear()

    def _sound_frame(self, value: int | CodedWord) -> None:
        if self._silent >= self._gap_frames and self._turn.state is TurnState.IDLE:
            self._sounding = self._since = 0
        if self._silent:
            self._silent = 0
            if self._turn.state is TurnState.EAGER_ENDED:
                self._sounding = 0
        self._sounding += 1
        self._since += 1
        if isinstance(value, CodedWord):
            self._word_recognized(value)
        match self._turn.state:
            case TurnState.IDLE:
                self._maybe_start()
            case TurnState.EAGER_ENDED if self._sounding >= self._resume_frames:
                self._queue(TurnResume())
            case _:
                self._eager_sent = False

    def _silent_frame(self) -> None:
        self._silent += 1
        if self._turn.state is TurnState.IDLE:
            if self._sounding:
                self._since += 1
                self._maybe_start()
            return
        if self._turn.state is TurnState.SPEAKING and self._silent >= self._eager_frames:
            self._maybe_end_eagerly()
        held = Pause.HELD in self._pause
        limit = self._timeout_frames if held else min(self._end_frames, self._timeout_frames)
        if self._silent >= limit:
            self._end_turn()

    def _word_recognized(self, word: CodedWord) -> None:
        # A word that is not in the vocabulary, such as another script's, is noise.
        if word.index < len(self._vocabulary):
            self._pause = word.pause
            self._pending.append((self._frames + self._delay_frames, self._vocabulary[word.index]))

    def _maybe_start(self) -> None:
        if self._since >= self._start_frames and self._sounding >= self._speech_frames:
            self._queue(TurnStart())

    def _maybe_end_eagerly(self) -> None:
        if self._eager_sent or Pause.NO_EAGER in self._pause:
            return
        if self._timing.eager_has_all:
            self._append(len(self._pending))
        if self._text:
            self._eager_sent = True
            self._queue(TurnEagerEnd(self._text))

    def _end_turn(self) -> None:
        self._append(len(self._pending))
        self._queue(TurnEnd(self._text))
        self._has_text = self._has_text or bool(self._text)
        self._text = ""
        self._pause = Pause.PLAIN
        self._eager_sent = False
        self._sounding = self._since = 0

    def _update(self) -> None:
        """Queue an update with the pending words that are due."""
        state = self._turn.state
        late = state is TurnState.EAGER_ENDED and self._timing.update_after_eager
        if state is TurnState.SPEAKING or late:
            ready = sum(1 for due, _ in self._pending if due <= self._frames)
            if ready:
                self._append(ready)
                self._queue(TurnUpdate(self._text))

    def _append(self, count: int) -> None:
        """Append the first `count` pending words to the text."""
        for _ in range(count):
            word = self._pending.popleft()[1]
            # The second and later turns of a connection begin with a space, the first does not.
            # https://docs.cartesia.ai/use-the-api/stt/turns/turns
            self._text += word if self._text or self._has_text else word.lstrip()

    def _queue(self, event: TurnStart | TurnUpdate | TurnEagerEnd | TurnResume | TurnEnd) -> None:
        self._turn.advance(type(event))
        self._out.append(event)

    def _send_cues(self, position: float) -> None:
        """Send the cues up to a position, in seconds of audio."""
        while self._cues and _position(self._cues[0]) <= position:
            self._emit(self._cues.popleft().messages)

    def _send(self) -> None:
        out, self._out = self._out, []
        self._emit(out)


def _position(cue: Cue) -> float:
    return cue.at if cue.at != AT_CLOSE else float("inf")


def _discard(messages: Sequence[Outgoing]) -> None:
    """Send nothing: the connection is lost."""
