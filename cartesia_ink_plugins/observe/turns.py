"""Turns as observers see them: when each began and ended, and what was predicted of its end.

A `TurnTracker` reads the moments of one session. A turn of the endpoint with turn detection begins
with `turn.start` and ends with `turn.end`; one of the manual endpoint begins with its first text
and ends with its final.
"""

from __future__ import annotations

from dataclasses import dataclass

from cartesia_ink_plugins.core.events import (
    Final,
    Interim,
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
)
from cartesia_ink_plugins.core.tap import Moment, MomentKind, SessionStart, Wanted

TURN_KINDS: frozenset[Wanted] = frozenset(
    {MomentKind.STARTED, MomentKind.CLOCK, MomentKind.FINISHED}
    | {TurnStart, TurnEagerEnd, TurnResume, TurnEnd, Interim, Final}
)
"""What a `TurnTracker` reads."""


@dataclass(frozen=True, slots=True)
class TurnReport:
    """A turn that is over.

    Attributes:
        number: Of the turn in the session, from 1; on the manual endpoint, of the final.
        request_id: Id of the connection that ended it.
        transcript: Its final text.
        began_at: Wall-clock time at which its speech began, or, where that is unknown, at which the
            server told of the turn; in seconds since 1970.
        ended_at: Wall-clock time at which the final text arrived, in seconds since 1970.
        end_latency: Seconds from the end of its speech to the final text; None where the audio does
            not tell when speech ended.
        eager_lead: Seconds from the prediction of its end to the final text; None where none was
            valid at the end.
        predictions: How often its end was predicted.
        resumes: How many of these predictions were withdrawn.
    """

    number: int
    request_id: str | None
    transcript: str
    began_at: float
    ended_at: float
    end_latency: float | None
    eager_lead: float | None
    predictions: int
    resumes: int

    @property
    def duration(self) -> float:
        """Seconds from the beginning of its speech to the final text."""
        return max(0.0, self.ended_at - self.began_at)

    @property
    def is_spoken(self) -> bool:
        """Whether it has words: without them it is noise, and nobody waits for an answer."""
        return bool(self.transcript.strip())


@dataclass(slots=True)
class OpenTurn:
    """A turn that is not over.

    Attributes:
        number: Of the turn in the session, from 1.
        began_at: As of `TurnReport`.
        predicted_at: Wall-clock time of the prediction that is valid now; None if none is.
        predictions: How often its end was predicted.
        resumes: How many of these predictions were withdrawn.
    """

    number: int
    began_at: float
    predicted_at: float | None = None
    predictions: int = 0
    resumes: int = 0


class TurnTracker:
    """Follows the turns of one session, or of several, one after the other.

    Attributes:
        epoch: Wall-clock time at which the session's clock was 0, in seconds since 1970.
        turn: The turn that is open; None if none is.
    """

    def __init__(self) -> None:
        """Begin before the first session."""
        self.epoch = 0.0
        self.turn: OpenTurn | None = None

    def wall_clock(self, moment: Moment) -> float:
        """Return when a moment was, in seconds since 1970."""
        return self.epoch + moment.time

    def on(self, moment: Moment) -> TurnReport | None:
        """Take the next moment; return the turn that ends with it, if one does."""
        payload = moment.payload
        match moment.kind:
            case MomentKind.STARTED if isinstance(payload, SessionStart):
                self.epoch, self.turn = payload.epoch, None
            case MomentKind.CLOCK if isinstance(payload, float):
                self.epoch = payload
            case MomentKind.EVENT:
                return self._event(payload, self.wall_clock(moment))
            case MomentKind.FINISHED:
                self.turn = None
            case _:
                pass
        return None

    def _event(self, event: object, now: float) -> TurnReport | None:
        match event:
            case TurnStart(timing=timing):
                self._begin(timing, now)
            case TurnEagerEnd(timing=timing):
                turn = self.turn or self._begin(timing, now)
                turn.predicted_at = now
                turn.predictions += 1
            case TurnResume() if self.turn is not None:
                self.turn.predicted_at = None
                self.turn.resumes += 1
            case Interim(text=text, timing=timing) if text and self.turn is None:
                self._begin(timing, now)
            case TurnEnd(transcript=text):
                return self._end(event, text, now)
            case Final(text=text) if text or self.turn is not None:
                return self._end(event, text, now)
            case _:
                pass
        return None

    def _begin(self, timing: Timing | None, now: float) -> OpenTurn:
        number = timing.turn if timing else 0
        start = timing.speech_start if timing else None
        # A speech that is known to begin later than its event is a fault of the clock.
        self.turn = OpenTurn(number, min(now, now if start is None else start))
        return self.turn

    def _end(self, event: TurnEnd | Final, text: str, now: float) -> TurnReport:
        turn, timing = self.turn or self._begin(event.timing, now), event.timing
        self.turn = None
        end = timing.speech_end if timing else None
        return TurnReport(
            number=timing.turn if timing else turn.number,
            request_id=event.request_id,
            transcript=text,
            began_at=turn.began_at,
            ended_at=now,
            end_latency=None if end is None else max(0.0, now - end),
            eager_lead=None if turn.predicted_at is None else now - turn.predicted_at,
            predictions=turn.predictions,
            resumes=turn.resumes,
        )
