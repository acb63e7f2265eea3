"""The metrics: instruments of one meter, and the seconds of audio that are read when exported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

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


_INSTRUMENTS: dict[str, tuple[str, str, Sequence[float]]] = {
    names.DURATION_METRIC: (
        "s",
        "From the beginning of the user's speech to the final text of the turn",
        _DURATION_BOUNDS,
    ),
    names.END_LATENCY_METRIC: (
        "s",
        "From the end of the user's speech to the final text of the turn",
        _LATENCY_BOUNDS,
    ),
    names.EAGER_LEAD_METRIC: (
        "s",
        "From the prediction of the turn's end to its final text",
        _LATENCY_BOUNDS,
    ),
    names.SPECULATIONS_METRIC: (
        "{speculation}",
        "Replies that were begun before the turn ended, by what became of them",
        (),
    ),
    names.WASTED_TOKENS_METRIC: (
        "{token}",
        "Tokens of replies that were withdrawn or mismatched",
        (),
    ),
    names.CONNECTION_METRIC: (
        "{event}",
        "Connections that were opened, lost, failed or rejected",
        (),
    ),
}
"""Unit, description and bounds of each histogram, and, without bounds, of each counter."""

# To Prometheus, a label without a value is none: each metric has all of them.
_LABELS = {
    name: name.replace(".", "_")
    for name in (
        names.OPERATION_NAME,
        names.PROVIDER_NAME,
        names.REQUEST_MODEL,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.ERROR_TYPE,
        names.OUTCOME,
        names.KIND,
        names.EVENT,
        names.EVENT_CAUSE,
    )
}

Measure = Callable[[float, Mapping[str, AttributeValue]], None]


class Instruments:
    """All instruments of a meter; one of these serves all sessions of a process."""

    def __init__(self, meter: Meter, *, shares_page: bool = False) -> None:
        """Make the instruments.

        Args:
            meter: Of OpenTelemetry.
            shares_page: Whether the counters and histograms are also to be on the page of
                Prometheus that this process has in common with others.
        """
        self._measures: dict[str, list[Measure]] = {}
        for name, (unit, description, bounds) in _INSTRUMENTS.items():
            measure: Measure = (
                meter.create_histogram(
                    name, unit, description, explicit_bucket_boundaries_advisory=bounds
                ).record
                if bounds
                else meter.create_counter(name, unit, description).add
            )
            self._measures[name] = [measure]
            if shares_page:
                self._measures[name].append(_measure_on_page(name, unit, description, bounds))
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
        self._measure(names.DURATION_METRIC, turn.duration, attributes)
        if turn.is_spoken and turn.end_latency is not None:
            self._measure(names.END_LATENCY_METRIC, turn.end_latency, attributes)
        if turn.is_spoken and turn.eager_lead is not None:
            self._measure(names.EAGER_LEAD_METRIC, turn.eager_lead, attributes)

    def speculation_ended(
        self, speculation: Speculation, attributes: Mapping[str, AttributeValue]
    ) -> None:
        """Count a speculation and what it wasted."""
        outcome = speculation.outcome
        named = {**attributes, names.OUTCOME: outcome.value}
        self._measure(names.SPECULATIONS_METRIC, 1, named)
        if outcome is SpeculationOutcome.KEPT:
            return
        tokens = {
            "prompt": speculation.prompt_tokens,
            "completion": speculation.completion_tokens,
            "estimated_prompt": speculation.estimated_prompt_tokens,
        }
        for kind, count in tokens.items():
            if count:
                self._measure(names.WASTED_TOKENS_METRIC, count, {**attributes, names.KIND: kind})

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
        self._measure(names.CONNECTION_METRIC, 1, {**attributes, **named})

    def _measure(self, name: str, amount: float, attributes: Mapping[str, AttributeValue]) -> None:
        for measure in self._measures[name]:
            measure(amount, attributes)


def _measure_on_page(name: str, unit: str, description: str, bounds: Sequence[float]) -> Measure:
    """Make what OpenTelemetry's exporter for Prometheus would show, with Prometheus' own client.

    Its metrics are files in `PROMETHEUS_MULTIPROC_DIR`, of which the page is made.
    """
    from prometheus_client import Counter, Histogram

    name = name.replace(".", "_") + ("_seconds" if unit == "s" else "")
    metric = (
        Histogram(name, description, _LABELS.values(), buckets=bounds, registry=None)
        if bounds
        else Counter(name, description, _LABELS.values(), registry=None)
    )

    def measure(amount: float, attributes: Mapping[str, AttributeValue]) -> None:
        child = metric.labels(*(str(attributes.get(name, "")) for name in _LABELS))
        if isinstance(child, Histogram):
            child.observe(amount)
        else:
            child.inc(amount)

    return measure


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
