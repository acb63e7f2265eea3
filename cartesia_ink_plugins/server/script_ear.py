"""The ear that hears coded speech: the turn detection of the script engine.

Everything happens on the clock of the audio, in frames of 10 ms: the same audio gives the same
messages, whatever the chunks and however fast they come.
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
from cartesia_ink_plugins.server.cues import CLOSING, Cue
from cartesia_ink_plugins.server.engine import Emit, Outgoing, TurnThresholds
from cartesia_ink_plugins.server.manual_engine import DELTA_SIZES
from cartesia_ink_plugins.server.voice import SILENT, CodedWord, Pause, WordReader

_SHORTEST_SPEECH = 0.1  # a shorter sound is a click and starts no turn
_BURST_GAP = 0.3  # silence that makes two sounds of one, while no turn is open


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTiming:
    """How a script is heard. Delays are seconds of audio at the default thresholds.

    Other thresholds move the delays as they would in the real service: a higher eager threshold
    fires earlier, a lower end threshold ends later.

    Attributes:
        start_delay: From the beginning of a sound to `turn.start`.
        eager_delay: Of silence until `turn.eager_end`.
        end_delay: Of silence until `turn.end`.
        resume_delay: Of sound until `turn.resume`.
        word_delay: From the end of a word to the `turn.update` that has it.
        word_gap: Silence between two words.
        eager_has_all: Whether `turn.eager_end` has every word said before it, or leaves those that
            are still delayed to what comes after it.
        update_after_eager: Whether words that come late may come in a `turn.update` between
            `turn.eager_end` and `turn.end`.
        delta_sizes: Characters of each delta of the manual endpoint, in turn.
        finalize_after: Of silence until the manual endpoint gives its words without `finalize`.
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
        """Pauses from here on must be held lest they end the turn."""
        return self.end_delay - 0.05

    def silence(self, threshold: float) -> float:
        """Seconds of silence after which the likelihood of a turn is below `threshold`.

        The likelihood falls evenly, and is 0.6 after `eager_delay` and 0.3 after `end_delay`.
        """
        defaults = TurnThresholds()
        slope = (self.end_delay - self.eager_delay) / (defaults.eager_end - defaults.end)
        return max(0.05, self.eager_delay + (defaults.eager_end - threshold) * slope)


class ScriptEar:
    """Hears one connection."""

    def __init__(
        self,
        audio: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        words: Sequence[str],
        timing: ScriptTiming,
        cues: Sequence[Cue] = (),
    ) -> None:
        """Open the ear; cues at 0 s are sent at once.

        Args:
            audio: Format of the audio.
            thresholds: When turns start and end.
            emit: Where messages go.
            words: What the coded words mean.
            timing: How they are heard.
            cues: Messages of this connection at fixed places of the audio.
        """
        self._audio = audio
        self._emit = emit
        self._words = words
        self._timing = timing
        self._cues = deque(sorted((c for c in cues if c.at != CLOSING), key=_place))
        self._last_cues = [cue for cue in cues if cue.at == CLOSING]
        self._reader = WordReader(audio) if words or not cues else None
        self._turn = TurnMachine("script")
        self._out: list[Outgoing] = []
        self._received = 0
        self._frames = 0
        self._sounding = 0  # frames of sound since the last silence worth the name
        self._since = 0  # frames since that sound began
        self._silent = 0  # frames of silence since the last sound
        self._pause = Pause.PLAIN
        self._eager_told = False
        self._pending: deque[tuple[int, str]] = deque()
        self._text = ""
        self._spoken = False
        self.configure(thresholds)
        self._tell_cues(0.0)

    def configure(self, settings: TurnThresholds) -> None:
        """Go on with other thresholds."""
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
        self._shortest_frames = round(_SHORTEST_SPEECH / frame)
        self._gap_frames = round(_BURST_GAP / frame)

    def hear(self, pcm: bytes) -> None:
        """Take the next audio bytes."""
        self._received += len(pcm)
        if self._reader is not None:
            seconds = self._reader.frame_seconds
            for value in self._reader.read(pcm):
                self._frames += 1
                if self._cues:
                    self._tell_cues(self._frames * seconds)
                if value == SILENT:
                    self._hear_silence()
                else:
                    self._hear_sound(value)
                if self._pending:
                    self._tell_words()
                if self._out:
                    self._send()
        if self._cues:
            self._tell_cues(self._audio.seconds(self._received))

    def flush(self) -> None:
        """Settle what was heard: an open turn ends now."""
        for cue in self._last_cues:
            self._emit(cue.messages)
        if self._turn.state is not TurnState.IDLE:
            self._end_turn()
            self._send()

    async def close(self) -> None:
        """Flush."""
        self.flush()

    def abort(self) -> None:
        """Emit nothing more."""
        self._emit = _nobody
        self._cues.clear()

    def _hear_sound(self, value: int | CodedWord) -> None:
        if self._silent >= self._gap_frames and self._turn.state is TurnState.IDLE:
            self._sounding = self._since = 0
        if self._silent:
            self._silent = 0
            if self._turn.state is TurnState.EAGER_ENDED:
                self._sounding = 0
        self._sounding += 1
        self._since += 1
        if isinstance(value, CodedWord):
            self._hear_word(value)
        match self._turn.state:
            case TurnState.IDLE:
                self._maybe_start()
            case TurnState.EAGER_ENDED if self._sounding >= self._resume_frames:
                self._tell(TurnResume())
            case _:
                self._eager_told = False

    def _hear_silence(self) -> None:
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

    def _hear_word(self, word: CodedWord) -> None:
        # Sound that is no word of this script, such as another script's, stays noise.
        if word.index < len(self._words):
            self._pause = word.pause
            self._pending.append((self._frames + self._delay_frames, self._words[word.index]))

    def _maybe_start(self) -> None:
        if self._since >= self._start_frames and self._sounding >= self._shortest_frames:
            self._tell(TurnStart())

    def _maybe_end_eagerly(self) -> None:
        if self._eager_told or Pause.NO_EAGER in self._pause:
            return
        if self._timing.eager_has_all:
            self._take_words(len(self._pending))
        if self._text:
            self._eager_told = True
            self._tell(TurnEagerEnd(self._text))

    def _end_turn(self) -> None:
        self._take_words(len(self._pending))
        self._tell(TurnEnd(self._text))
        self._spoken = self._spoken or bool(self._text)
        self._text = ""
        self._pause = Pause.PLAIN
        self._eager_told = False
        self._sounding = self._since = 0

    def _tell_words(self) -> None:
        """Say the words whose time has come."""
        state = self._turn.state
        late = state is TurnState.EAGER_ENDED and self._timing.update_after_eager
        if state is TurnState.SPEAKING or late:
            ready = sum(1 for due, _ in self._pending if due <= self._frames)
            if ready:
                self._take_words(ready)
                self._tell(TurnUpdate(self._text))

    def _take_words(self, count: int) -> None:
        for _ in range(count):
            word = self._pending.popleft()[1]
            # The second and later turns of a connection begin with a space, the first does not.
            # https://docs.cartesia.ai/use-the-api/stt/turns/turns
            self._text += word if self._text or self._spoken else word.lstrip()

    def _tell(self, event: TurnStart | TurnUpdate | TurnEagerEnd | TurnResume | TurnEnd) -> None:
        self._turn.advance(type(event))
        self._out.append(event)

    def _tell_cues(self, position: float) -> None:
        while self._cues and _place(self._cues[0]) <= position:
            self._emit(self._cues.popleft().messages)

    def _send(self) -> None:
        out, self._out = self._out, []
        self._emit(out)


def _place(cue: Cue) -> float:
    return cue.at if cue.at != CLOSING else float("inf")


def _nobody(messages: Sequence[Outgoing]) -> None:
    """Take the place of a connection that is gone."""
