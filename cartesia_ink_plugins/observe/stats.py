"""What happened in a session, as numbers: a tap that counts, and the snapshot it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from cartesia_ink_plugins.core.events import Disconnected, TurnEagerEnd, TurnResume
from cartesia_ink_plugins.core.stats import NO_NUMBERS, Snapshot
from cartesia_ink_plugins.core.tap import (
    Moment,
    MomentKind,
    SessionStart,
    Speculation,
    SpeculationOutcome,
)
from cartesia_ink_plugins.observe.percentiles import Durations, Percentiles
from cartesia_ink_plugins.observe.turns import TURN_KINDS, TurnReport, TurnTracker


@dataclass(frozen=True, slots=True)
class SpeculationStats:
    """Replies that were begun before the turn ended, with the tokens that the LLM reported.

    Attributes:
        kept: The final words were the predicted ones.
        withdrawn: The user went on.
        mismatched: The final words were others.
        prompt_tokens: Read by the LLM for all of them.
        completion_tokens: Written by the LLM for all of them.
        wasted_prompt_tokens: Read for those that were withdrawn or mismatched.
        wasted_completion_tokens: Written for those that were withdrawn or mismatched.
        estimated_wasted_prompt_tokens: Read for those that were withdrawn or mismatched and of
            which the LLM reported nothing, estimated from the length of the text.
    """

    kept: int = 0
    withdrawn: int = 0
    mismatched: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    wasted_prompt_tokens: int = 0
    wasted_completion_tokens: int = 0
    estimated_wasted_prompt_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Snapshot):
    """The numbers of a session, or of all sessions of a service.

    The other attributes are those of `Snapshot`.

    Attributes:
        lost_connections: Open connections that ended before the session did.
        failed_connections: Attempts to connect that failed, and were repeated.
        rejections: Sessions that the server rejected for good.
        predictions: How often the end of a turn was predicted (`turn.eager_end`).
        resumes: How many of these predictions were withdrawn (`turn.resume`).
        speculations: Replies that were begun on a prediction.
        end_latency: From the end of the user's speech to the final text of the turn.
        eager_lead: From the prediction to the final text of the turn, where the prediction held.
    """

    lost_connections: int = 0
    failed_connections: int = 0
    rejections: int = 0
    predictions: int = 0
    resumes: int = 0
    speculations: SpeculationStats = field(default_factory=SpeculationStats)
    end_latency: Percentiles = field(default_factory=Percentiles)
    eager_lead: Percentiles = field(default_factory=Percentiles)


class StatsTap:
    """Counts what happens in one session, or in several, one after the other.

    Attributes:
        is_finished: Whether its session is over.
    """

    kinds = TURN_KINDS | {MomentKind.LOST, MomentKind.REJECTED, MomentKind.SPECULATION_ENDED}

    def __init__(self) -> None:
        """Begin with nothing."""
        self.is_finished = False
        self._turns = TurnTracker()
        self._read: Callable[[], Snapshot] | None = None
        self._ended = NO_NUMBERS  # sessions that are over
        self._counts: Counter[str] = Counter()
        self._speculations: Counter[str] = Counter()
        self._end_latency = Durations()
        self._eager_lead = Durations()

    def on(self, moment: Moment) -> None:
        """Count a moment."""
        if (report := self._turns.on(moment)) is not None:
            self._turn_ended(report)
        payload = moment.payload
        match moment.kind:
            case MomentKind.STARTED if isinstance(payload, SessionStart):
                self._read, self.is_finished = payload.snapshot, False
            case MomentKind.EVENT if isinstance(payload, TurnEagerEnd):
                self._counts["predictions"] += 1
            case MomentKind.EVENT if isinstance(payload, TurnResume):
                self._counts["resumes"] += 1
            case MomentKind.LOST:
                lost = isinstance(payload, Disconnected)
                self._counts["lost_connections" if lost else "failed_connections"] += 1
            case MomentKind.REJECTED:
                self._counts["rejections"] += 1
            case MomentKind.SPECULATION_ENDED if isinstance(payload, Speculation):
                self._speculation_ended(payload)
            case MomentKind.FINISHED:
                self._ended = _sum(self._ended, self._live())
                self._read, self.is_finished = None, True
            case _:
                pass

    def absorb(self, other: StatsTap) -> None:
        """Add the numbers that another tap has by now."""
        self._ended = _sum(_sum(self._ended, other._ended), other._live())
        self._counts.update(other._counts)
        self._speculations.update(other._speculations)
        self._end_latency.add_all(other._end_latency)
        self._eager_lead.add_all(other._eager_lead)

    def stats(self) -> Stats:
        """Return the numbers so far."""
        return Stats(
            **_values(_sum(self._ended, self._live())) | self._counts,
            speculations=SpeculationStats(**self._speculations),
            end_latency=self._end_latency.percentiles(),
            eager_lead=self._eager_lead.percentiles(),
        )

    def _live(self) -> Snapshot:
        return self._read() if self._read is not None else NO_NUMBERS

    def _turn_ended(self, turn: TurnReport) -> None:
        if turn.is_spoken:
            if turn.end_latency is not None:
                self._end_latency.add(turn.end_latency)
            if turn.eager_lead is not None:
                self._eager_lead.add(turn.eager_lead)

    def _speculation_ended(self, speculation: Speculation) -> None:
        counts = self._speculations
        counts[speculation.outcome.value] += 1
        is_wasted = speculation.outcome is not SpeculationOutcome.KEPT
        for name in ("prompt_tokens", "completion_tokens"):
            tokens = getattr(speculation, name) or 0
            counts[name] += tokens
            counts[f"wasted_{name}"] += tokens * is_wasted
        estimate = speculation.estimated_prompt_tokens or 0
        counts["estimated_wasted_prompt_tokens"] += estimate * is_wasted


class StatsGroup:
    """The numbers of a service that has one session after another, or several at a time."""

    def __init__(self) -> None:
        """Begin without a session."""
        self._ended = StatsTap()
        self._taps: list[StatsTap] = []

    def add(self, tap: StatsTap) -> None:
        """Count what a tap counts, too."""
        self._forget_finished()
        self._taps.append(tap)

    def stats(self) -> Stats:
        """Return the numbers of all sessions so far."""
        self._forget_finished()
        total = StatsTap()
        for tap in (self._ended, *self._taps):
            total.absorb(tap)
        return total.stats()

    def _forget_finished(self) -> None:
        for tap in self._taps:
            if tap.is_finished:
                self._ended.absorb(tap)
        self._taps = [tap for tap in self._taps if not tap.is_finished]


def _values(snapshot: Snapshot) -> dict[str, Any]:
    return {field.name: getattr(snapshot, field.name) for field in fields(Snapshot)}


def _sum(one: Snapshot, other: Snapshot) -> Snapshot:
    violations = Counter(one.protocol_violations)
    violations.update(other.protocol_violations)
    return Snapshot(
        received=one.received + other.received,
        sent=one.sent + other.sent,
        pending=one.pending + other.pending,
        lost=one.lost + other.lost,
        replayed=one.replayed + other.replayed,
        silence=one.silence + other.silence,
        connections=one.connections + other.connections,
        turns=one.turns + other.turns,
        protocol_violations=dict(violations),
    )
