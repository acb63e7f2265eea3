"""What the events of a clip are worth: was the speaker cut off, and how long was the wait.

The names are those of eot-bench and TurnBench where they measure the same:

- *false cut-offs*: planted pauses in which, or in the speech after which, there was a `turn.end`,
  per 100 (TurnBench: false positives). A cut is one of the newest pause before it.
- *delay*: from where the last word ends to the `turn.end` (eot-bench: latency), and to the last
  `turn.eager_end` before it. Dead air by design; what a model computes meanwhile is not in it.
- *withdrawn*: `turn.eager_end`s that a `turn.resume` followed, per 100; *lead*: how much earlier
  than the `turn.end` the `turn.eager_end` was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.end_of_turn_material import Clip
from benchmarks.engine_clips import distance, words_of
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
)

# Pauses up to this length belong to a speaker who goes on at once.
SHORT_PAUSE = 0.8
# A turn.eager_end that comes so much earlier is of use.
USEFUL_LEAD = 0.15


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a clip.

    Attributes:
        clip: What was played.
        cuts: For each planted pause, whether the turn ended in it.
        start: Seconds from the first word to `turn.start`; None when there was none.
        delay: Seconds from the last word to `turn.end`; None when there was none.
        eager: Seconds from the last word to `turn.eager_end`; None when there was none.
        eager_ends: How many there were.
        withdrawn: How many of them were withdrawn.
        errors: Wrong, missing and surplus words.
    """

    clip: Clip
    cuts: tuple[bool, ...]
    start: float | None
    delay: float | None
    eager: float | None
    eager_ends: int
    withdrawn: int
    errors: int

    @property
    def wanted(self) -> int:
        """How many words there are to be recognised."""
        return len(words_of(" ".join(self.clip.turn.pieces)))


def outcome(clip: Clip, events: Sequence[tuple[float, TurnEvent]]) -> Outcome:
    """Hold the events of a clip against what was planted."""

    def times(kind: type[TurnEvent]) -> list[float]:
        return [at for at, event in events if isinstance(event, kind)]

    ends = times(TurnEnd)
    edges = [*(begin for begin, _ in clip.pauses), clip.end]
    cuts = tuple(any(begin <= at < until for at in ends) for begin, until in pairwise(edges))
    final = next((at for at in ends if at >= clip.end), None)
    eager = [at for at in times(TurnEagerEnd) if final is not None and clip.end <= at <= final]
    starts = times(TurnStart)
    text = "".join(event.transcript for _, event in events if isinstance(event, TurnEnd))
    return Outcome(
        clip,
        cuts,
        starts[0] - clip.spans[0][0] if starts else None,
        None if final is None else final - clip.end,
        eager[-1] - clip.end if eager else None,
        len(times(TurnEagerEnd)),
        len(times(TurnResume)),
        min(distance(words_of(" ".join(clip.turn.pieces)), read) for read in _readings(text)),
    )


def _readings(text: str) -> tuple[list[str], list[str]]:
    """The words of a text; a number may have been said as one, or digit by digit."""
    return words_of(text), words_of(re.sub(r"\d(?=[\d-])", r"\g<0> ", text))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of some outcomes: seconds, and parts of 100.

    Attributes:
        turns: How many turns they are of.
        pauses: How many planted pauses.
        cut_offs: False cut-offs per 100 planted pauses.
        short_cut_offs: The same of those under 0.8 s.
        mean: Delay of `turn.end`.
        median: The same.
        p90: The same.
        eager_mean: Delay of `turn.eager_end`.
        leads: Turns with a `turn.eager_end` that is at least 0.15 s earlier, per 100.
        withdrawn: Withdrawn `turn.eager_end`s per 100.
        start: Median delay of `turn.start`.
        missed: Turns without a `turn.end`.
        word_errors: Per 100 words.
    """

    turns: int
    pauses: int
    cut_offs: float
    short_cut_offs: float
    mean: float
    median: float
    p90: float
    eager_mean: float
    leads: float
    withdrawn: float
    start: float
    missed: int
    word_errors: float


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Sum outcomes up."""
    pauses = [
        (end - begin, cut)
        for o in outcomes
        for (begin, end), cut in zip(o.clip.pauses, o.cuts, strict=True)
    ]
    delays = [o.delay for o in outcomes if o.delay is not None]
    leads = [
        o.delay - o.eager >= USEFUL_LEAD - 1e-9
        for o in outcomes
        if o.delay is not None and o.eager is not None
    ]
    return Figures(
        turns=len(outcomes),
        pauses=len(pauses),
        cut_offs=_share(cut for _, cut in pauses),
        short_cut_offs=_share(cut for length, cut in pauses if length < SHORT_PAUSE),
        mean=_of(np.mean, delays),
        median=_of(np.median, delays),
        p90=_of(lambda values: np.percentile(values, 90), delays),
        eager_mean=_of(np.mean, [o.eager for o in outcomes if o.eager is not None]),
        leads=100.0 * sum(leads) / len(outcomes) if outcomes else math.nan,
        withdrawn=_ratio(sum(o.withdrawn for o in outcomes), sum(o.eager_ends for o in outcomes)),
        start=_of(np.median, [o.start for o in outcomes if o.start is not None]),
        missed=sum(o.delay is None for o in outcomes),
        word_errors=_ratio(sum(o.errors for o in outcomes), sum(o.wanted for o in outcomes)),
    )


def _share(flags: Iterable[bool]) -> float:
    known = list(flags)
    return _ratio(sum(known), len(known))


def _ratio(some: int, whole: int) -> float:
    return 100.0 * some / whole if whole else math.nan


def _of(measure: Callable[[Sequence[float]], object], values: Sequence[float]) -> float:
    return float(measure(values)) if values else math.nan  # type: ignore[arg-type]
