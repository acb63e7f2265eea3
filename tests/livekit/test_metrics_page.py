"""LiveKit's own `/metrics` shows what OpenTelemetry's exporter for Prometheus has."""

from __future__ import annotations

import aiohttp
import pytest
from livekit.agents.telemetry.http_server import HttpServer
from opentelemetry.exporter.prometheus import PrometheusMetricReader

from cartesia_ink_plugins.server.script import Script
from tests.observe.playing import play
from tests.observe.telemetry.telling import Telling
from tests.observe.telemetry.test_prometheus import value


async def test_the_page_has_our_metrics_beside_those_of_livekit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    telling = Telling(None, PrometheusMetricReader())
    server = HttpServer("127.0.0.1", 0)
    await server.start()
    try:
        play(Script("Hello there."), taps=[telling.tap()])
        assert telling.worker.flush(30.0)
        url = f"http://127.0.0.1:{server.port}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            page = await answer.text()
    finally:
        await server.aclose()
        telling.meters.shutdown()
    assert value(page, "cartesia_ink_turn_end_latency_seconds_count") == 1
    assert value(page, "cartesia_ink_audio_pending_seconds") == 0
    assert "lk_agents_active_job_count" in page
