"""An application that configures OpenTelemetry as its documentation says, and speaks one turn.

Run with `OTEL_EXPORTER_OTLP_ENDPOINT`; nothing here is about telemetry of the client.
"""

from __future__ import annotations

import asyncio

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins.testing import InkServer, Script

SCRIPT = Script("Hello there.")


async def main() -> None:
    with trace.get_tracer("app").start_as_current_span("call"):
        async with InkServer(SCRIPT) as server:
            options = TurnsOptions(base_url=server.url)
            async with InkTurnsClient(options, Credentials(api_key="any")) as ink:
                ink.send_audio(SCRIPT.audio(options.format))
                await ink.finish(30.0)


if __name__ == "__main__":
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    asyncio.run(main())
