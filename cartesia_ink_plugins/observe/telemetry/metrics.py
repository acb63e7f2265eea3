"""The metrics: instruments of one meter, and the seconds of audio that are read when exported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.util.types import AttributeValue

from cartesia_ink_plugins.core.stats import Snapshot
from cartesia_ink_plugins.core.tap import Speculation, SpeculationOutcome
from cartesia_ink_plugins.observe.telemetry import names
from cartesia_ink_plugins.observe.turns import TurnReport

# Seconds. The conventions recommend these bounds for `gen_ai.client.operation.duration`.
_DURATION_BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)
# Seconds. A turn is ended after 0.2 to 2 s of silence; 5.6 s is the time-out of the service.
_LATENCY_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 6.0, 12.0)

_KINDS = {"sent": "sent", "replayed": "replayed", "lost": "lost", "silent": "silence"}
"""The value of the attribute `kind`, and the attribute of a `Snapshot`."""


class Instruments:
    """All instruments of a meter; one of these serves all sessions of a process."""

    def __init__(self, meter: Meter) -> None:
        """Make the instruments."""
        self._duration = meter.create_histogram(
            names.DURATION_METRIC,
            unit="s",
            description="From the beginning of the user's speech to the final text of the turn",
            explicit_bucket_boundaries_advisory=_DURATION_BOUNDS,
        )
        self._end_latency = meter.create_histogram(
            names.END_LATENCY_METRIC,
            unit="s",
            description="From the end of the user's speech to the final text of the turn",
            explicit_bucket_boundaries_advisory=_LATENCY_BOUNDS,
        )
        self._eager_lead = meter.create_histogram(
            names.EAGER_LEAD_METRIC,
            unit="s",
            description="From the prediction of the turn's end to its final text",
            explicit_bucket_boundaries_advisory=_LATENCY_BOUNDS,
        )
        self._speculations = meter.create_counter(
            names.SPECULATIONS_METRIC,
            unit="{speculation}",
            description="Replies that were begun before the turn ended, by what became of them",
        )
        self._wasted_tokens = meter.create_counter(
            names.WASTED_TOKENS_METRIC,
            unit="{token}",
            description="Tokens of replies that were withdrawn or mismatched",
        )
        self._connection_events = meter.create_counter(
            names.CONNECTION_METRIC,
            unit="{event}",
            description="Connections that were opened, lost, failed or rejected",
        )
        self.audio = AudioMeter()
        meter.create_observable_counter(
            names.AUDIO_METRIC,
            callbacks=[self.audio.seconds],
            unit="s",
            description="Seconds of audio that were sent, sent again, lost, or inserted as silence",
        )
        meter.create_observable_gauge(
            names.PENDING_METRIC,
            callbacks=[self.audio.pending],
            unit="s",
            description="Seconds of audio that wait to be sent, in all sessions",
        )

    def turn_ended(self, turn: TurnReport, attributes: Mapping[str, AttributeValue]) -> None:
        """Measure a turn; the latencies of those with words only."""
        self._duration.record(turn.duration, attributes)
        if turn.is_spoken and turn.end_latency is not None:
            self._end_latency.record(turn.end_latency, attributes)
        if turn.is_spoken and turn.eager_lead is not None:
            self._eager_lead.record(turn.eager_lead, attributes)

    def speculation_ended(
        self, speculation: Speculation, attributes: Mapping[str, AttributeValue]
    ) -> None:
        """Count a speculation and what it wasted."""
        outcome = speculation.outcome
        self._speculations.add(1, {**attributes, names.OUTCOME: outcome.value})
        if outcome is SpeculationOutcome.KEPT:
            return
        tokens = {
            "prompt": speculation.prompt_tokens,
            "completion": speculation.completion_tokens,
            "estimated_prompt": speculation.estimated_prompt_tokens,
        }
        for kind, count in tokens.items():
            if count:
                self._wasted_tokens.add(count, {**attributes, names.KIND: kind})

    def connection_event(
        self, event: str, cause: str, attributes: Mapping[str, AttributeValue]
    ) -> None:
        """Count an event of a connection.

        Args:
            event: `opened`, `lost`, `failed` or `rejected`.
            cause: One of few.
            attributes: Of the session.
        """
        named = {names.EVENT: event, names.EVENT_CAUSE: cause}
        self._connection_events.add(1, {**attributes, **named})


class AudioMeter:
    """Reads the seconds of audio of all sessions, when an exporter asks for them in its thread."""

    def __init__(self) -> None:
        """Begin without a session."""
        self._lock = threading.Lock()
        self._live: dict[object, Callable[[], Snapshot]] = {}
        self._ended = dict.fromkeys(_KINDS, 0.0)
        self._told = dict.fromkeys(_KINDS, 0.0)

    def began(self, session: object, read: Callable[[], Snapshot]) -> None:
        """A session has begun, whose numbers can be read."""
        with self._lock:
            self._live[session] = read

    def ended(self, session: object) -> None:
        """A session is over: keep its numbers, and not the session."""
        with self._lock:
            if (read := self._live.pop(session, None)) is not None:
                self._add(self._ended, read())

    def seconds(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return the seconds of each kind, of all sessions so far."""
        with self._lock:
            total = dict(self._ended)
            for read in self._live.values():
                self._add(total, read())
            for kind, seconds in total.items():
                # Audio that was sent can be lost later; a counter never goes back.
                self._told[kind] = max(self._told[kind], seconds)
            told = self._told.items()
            return [Observation(seconds, {names.KIND: kind}) for kind, seconds in told]

    def pending(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return the seconds that wait now."""
        with self._lock:
            return [Observation(sum(max(0.0, read().pending) for read in self._live.values()))]

    @staticmethod
    def _add(total: dict[str, float], snapshot: Snapshot) -> None:
        for kind, attribute in _KINDS.items():
            total[kind] += getattr(snapshot, attribute)
