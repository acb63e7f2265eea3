"""A clip becomes turn events, on the audio clock: what a model needs to compute takes no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.end_of_turn_material import Clip
from benchmarks.engine_memo import Memo, MemoSmartTurn, MemoWhisper
from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.server.engine import TurnThresholds
from cartesia_ink_plugins.server.speech.ending import Evidence, chance_of_end
from cartesia_ink_plugins.server.speech.listener import Listener
from cartesia_ink_plugins.server.speech.onnx import VAD_SAMPLES, Voice, onnx_session
from cartesia_ink_plugins.server.speech.recognise import Recogniser
from cartesia_ink_plugins.server.speech.weights import find_weights

# Never ends a turn.
ENDLESS = TurnThresholds(start=0.8, eager_end=0.0, end=0.0, timeout_ms=60_000)


@dataclass(frozen=True, slots=True)
class Judged:
    """A pause that was judged, be it the end or not.

    Attributes:
        at: When it was judged, in seconds of the clip.
        pause: How long it was by then, as the VAD has it.
        evidence: What was known of it.
    """

    at: float
    pause: float
    evidence: Evidence


@dataclass(slots=True)
class Player:
    """Plays clips to a listener, with models that remember.

    Attributes:
        judged: The pauses of the last clip that were judged.
    """

    recogniser: Recogniser
    silero: object
    judged: list[Evidence] = field(default_factory=list)

    @classmethod
    def load(cls, memo: Memo, judge_end: Callable[[Evidence], float] = chance_of_end) -> Player:
        """Load the models."""
        weights = find_weights()
        evidence: list[Evidence] = []

        def judge(pause: Evidence) -> float:
            evidence.append(pause)
            return judge_end(pause)

        recogniser = Recogniser(
            MemoWhisper(weights.whisper, memo),
            MemoSmartTurn(onnx_session(weights.smart_turn), memo),
            judge_end=judge,
        )
        return cls(recogniser, onnx_session(weights.silero), evidence)

    def play(self, samples: Samples, thresholds: TurnThresholds) -> list[tuple[float, TurnEvent]]:
        """The events of a clip, each with its time in seconds."""
        listener = Listener(Voice(self.silero), thresholds)
        events: list[tuple[float, TurnEvent]] = []
        for start in range(0, len(samples) - VAD_SAMPLES + 1, VAD_SAMPLES):
            new = listener.hear(samples[start : start + VAD_SAMPLES])
            events += [(listener.now, event) for event in new]
            self._answer(listener, events)
        events += [(listener.now, event) for event in listener.finish()]
        self._answer(listener, events)
        return events

    def trace(self, clip: Clip) -> list[Judged]:
        """All pauses of a clip that a listener judges which ends no turn."""
        listener = Listener(Voice(self.silero), ENDLESS)
        listener.hurried = True  # no decode but those of pauses
        found: list[Judged] = []
        for start in range(0, len(clip.samples) - VAD_SAMPLES + 1, VAD_SAMPLES):
            listener.hear(clip.samples[start : start + VAD_SAMPLES])
            self.judged.clear()
            self._answer(listener, [])
            found += [Judged(listener.now, listener.pause, pause) for pause in self.judged]
        return found

    def _answer(self, listener: Listener, events: list[tuple[float, TurnEvent]]) -> None:
        while listener.wanted:
            asked = listener.wanted.pop(0)
            answer = self.recogniser(asked.request)
            assert answer is not None
            new = listener.answer(asked, answer)
            events += [(listener.now, event) for event in new]


def memo_in(cache: Path) -> Memo:
    """What was recognised before."""
    return Memo(cache / "recognised.sqlite")
