"""The frames of a turn: each carries a stamp with the number of its turn and its place in it.

Pipecat keeps the order of data and control frames, but a system frame overtakes them, and a
processor on the way may hold some of them back. With the stamp, whoever receives a frame knows
where it belongs, in whatever order frames arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pipecat.frames import frames
from pipecat.frames.frames import (
    ControlFrame,
    EagerTranscriptionFrame,
    Frame,
    LLMContextFrame,
    ProposedUserStoppedSpeakingFrame,
    SystemFrame,
    TranscriptionFrame,
)

_KEY = "cartesia_ink_turn"
AnyFrame = TypeVar("AnyFrame", bound=Frame)


@dataclass(frozen=True, slots=True)
class TurnStamp:
    """Which turn a frame belongs to, and its place in it.

    Attributes:
        service: Name of the service that numbers the turns.
        turn: Number of the turn, from 1.
        prediction: How many predicted ends of the turn were pushed so far, with this frame.
        has_text: Whether text of the turn was pushed so far.
    """

    service: str
    turn: int
    prediction: int = 0
    has_text: bool = False

    def put_on(self, frame: AnyFrame) -> AnyFrame:
        """Stamp a frame, and return it."""
        frame.metadata[_KEY] = self
        return frame


def stamp_of(frame: Frame) -> TurnStamp | None:
    """The stamp of a frame; None when another processor has made it."""
    stamp = frame.metadata.get(_KEY)
    return stamp if isinstance(stamp, TurnStamp) else None


def _uninterruptible(kind: type[AnyFrame]) -> type[AnyFrame]:
    """The class to make frames of that an interruption must not drop."""
    if "interruptible" in Frame.__dataclass_fields__:
        return kind
    # Before Pipecat 1.11 it was not a field that decided, but a mixin, deprecated since.
    return type(kind.__name__, (kind, frames.UninterruptibleFrame), {})


def uninterruptible(frame: AnyFrame) -> AnyFrame:
    """Keep a frame through interruptions, where the version of Pipecat can do so for one frame."""
    frame.interruptible = False
    return frame


class RepeatedStopFrame(ProposedUserStoppedSpeakingFrame, SystemFrame):
    """A proposal to stop that is put to the user aggregator again, ahead of its queue."""


class VoidFrame(ControlFrame):
    """What is left of a frame that must have no effect any more, and was on its way already."""


def make_void(frame: LLMContextFrame) -> None:
    """Have the LLM service that is about to process a context pass it on, and answer nothing."""
    frame.__class__ = VoidFrame  # type: ignore[assignment]


FinalFrame = _uninterruptible(TranscriptionFrame)
EagerFrame = _uninterruptible(EagerTranscriptionFrame)
StopFrame = _uninterruptible(ProposedUserStoppedSpeakingFrame)
