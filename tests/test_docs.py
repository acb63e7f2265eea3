"""What stands in docs/ beside prose: links, and a compose file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.needs import ROOT, livekit_server

yaml = pytest.importorskip("yaml", reason="pip install -e '.[dev]'")

DOCS = sorted((ROOT / "docs").glob("*.md"))
LINKS = [
    pytest.param(page.parent / target, id=f"{page.name}: {target}")
    for page in DOCS
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
]
FLEET = (ROOT / "docs" / "livekit-fleet.md").read_text("utf-8")
ENVIRONMENT = {
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "a secret of at least thirty-two characters",
    "CARTESIA_API_KEY": "any",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file, its variables filled in as Compose does."""
    [text] = re.findall(r"^```yaml\n(services:.*?)^```$", FLEET, re.MULTILINE | re.DOTALL)
    filled = re.sub(r"\$\{(\w+)\}", lambda variable: ENVIRONMENT[variable[1]], text)
    loaded: dict[str, Any] = yaml.safe_load(filled)["services"]
    return loaded


@pytest.mark.parametrize("target", LINKS)
def test_a_link_leads_somewhere(target: Path) -> None:
    assert target.resolve().exists()


def test_every_service_can_be_had_and_waits_for_one_that_exists(services: dict[str, Any]) -> None:
    for service in services.values():
        assert len({"image", "build"} & service.keys()) == 1
        assert set(service.get("depends_on", [])) <= services.keys()


def test_workers_get_the_variables_that_the_page_speaks_of(services: dict[str, Any]) -> None:
    environment = services["worker"]["environment"]
    assert {*ENVIRONMENT, "LIVEKIT_URL", "MAX_CALLS"} <= environment.keys()
    assert environment["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] == "0"
    most = int(environment["MAX_CALLS"]) * services["worker"]["deploy"]["replicas"]
    assert most <= 60  # streams of the largest plan


def test_what_sends_another_agent_is_the_example(services: dict[str, Any]) -> None:
    _, program = services["redispatch"]["command"]
    assert (ROOT / "examples" / program).is_file()
    config = yaml.safe_load(services["livekit-1"]["environment"]["LIVEKIT_CONFIG"])
    [url] = config["webhook"]["urls"]
    port = url.rstrip("/").rpartition(":")[2]
    assert port in (ROOT / "examples" / program).read_text("utf-8")


@pytest.mark.needs("livekit-server")
def test_a_real_server_takes_the_configuration(services: dict[str, Any]) -> None:
    config = services["livekit-1"]["environment"]["LIVEKIT_CONFIG"]
    assert "use_external_ip: true" in config  # which it would ask the internet for
    offline = config.replace("use_external_ip: true", "use_external_ip: false")
    server = livekit_server()
    assert server is not None
    asked = subprocess.run(
        [server, "ports"],
        env={"LIVEKIT_CONFIG": offline},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 0, asked.stderr + asked.stdout
    assert "7880" in asked.stdout
    assert "50000" in asked.stdout
