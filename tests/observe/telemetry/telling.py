"""An OpenTelemetry of its own for each test, with exporters that keep what they are told."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cartesia_ink_plugins.observe.telemetry.metrics import Instruments
from cartesia_ink_plugins.observe.telemetry.tap import TelemetryTap
from cartesia_ink_plugins.observe.telemetry.worker import TelemetryWorker

Point = tuple[str, dict[str, Any], Any]
"""Name, attributes and value of a metric; of a histogram the value is count and sum."""


class Telling:
    """Providers with exporters in memory, and taps that tell them."""

    def __init__(self, exporter: SpanExporter | None = None, *readers: Any) -> None:
        self.kept = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(exporter or self.kept))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader, *readers])
        self.worker = TelemetryWorker()
        self.instruments = Instruments(self.meters.get_meter("test"))

    def tap(self) -> TelemetryTap:
        """Return a tap for the next session."""
        return TelemetryTap(self.tracers.get_tracer("test"), self.instruments, self.worker)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that ended so far, in the order of their end."""
        assert self.worker.flush(30.0)
        return sorted(self.kept.get_finished_spans(), key=lambda span: span.end_time or 0)

    @property
    def points(self) -> list[Point]:
        """The metrics so far."""
        assert self.worker.flush(30.0)
        data = self.reader.get_metrics_data()
        found: list[Point] = []
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        value = getattr(point, "value", None)
                        if value is None:
                            value = (point.count, point.sum)  # type: ignore[union-attr]
                        found.append((metric.name, dict(point.attributes or {}), value))
        return found

    def values(self, name: str, **attributes: Any) -> list[Any]:
        """The values of a metric whose attributes include some."""
        return [
            value
            for found, having, value in self.points
            if found == name and attributes.items() <= having.items()
        ]


def events_of(span: ReadableSpan) -> list[str]:
    """The names of a span's events."""
    return [event.name for event in span.events]


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})
