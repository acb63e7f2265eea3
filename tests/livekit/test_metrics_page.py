"""LiveKit's own `/metrics` shows our metrics, of this process or of those of jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from livekit.agents.telemetry.http_server import HttpServer
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client.parser import text_string_to_metric_families

from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.testing import InkServer
from tests.needs import ROOT
from tests.observe.playing import play
from tests.observe.telemetry.plain_app import SCRIPT
from tests.observe.telemetry.telling import Telling
from tests.observe.telemetry.test_prometheus import scrape, value


async def livekit_page() -> str:
    """What LiveKit serves to Prometheus."""
    server = HttpServer("127.0.0.1", 0)
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return await answer.text()
    finally:
        await server.aclose()


async def test_the_page_has_our_metrics_beside_those_of_livekit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    telling = Telling(None, PrometheusMetricReader())
    try:
        play(Script("Hello there."), taps=[telling.tap()])
        assert telling.worker.flush(30.0)
        page = await livekit_page()
    finally:
        telling.meters.shutdown()
    assert value(page, "cartesia_ink_turn_end_latency_seconds_count") == 1
    assert value(page, "cartesia_ink_audio_pending_seconds") == 0
    assert "lk_agents_active_job_count" in page


def samples(page: str) -> set[tuple[str, str]]:
    """Name and label of all that a page says of us."""
    return {
        (sample.name, label)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith(("cartesia_ink", "gen_ai"))
        for label, value in sample.labels.items()
        if value and not label.startswith("otel_")
    }


@pytest.mark.real_clock("its jobs are processes of their own")
async def test_the_page_of_several_processes_is_their_sum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    async with InkServer(SCRIPT) as server:
        command = [sys.executable, "-m", "tests.livekit.job_process", server.url]
        jobs = [
            await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        for job in jobs:
            assert (await job.communicate())[1] == b""
            assert job.returncode == 0
    page = await livekit_page()
    assert value(page, "cartesia_ink_turn_end_latency_seconds_count") == 2
    assert value(page, "gen_ai_client_operation_duration_seconds_count") == 2
    assert value(page, "cartesia_ink_connection_events_total", 'event="opened"') == 2
    exported = samples(scrape()) | {(name, "server_port") for name, _ in samples(page)}
    assert samples(page) <= exported, "other names or labels than those of OpenTelemetry's exporter"
