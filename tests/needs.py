"""What a test may need of the machine, how to find it, and how to get it.

`@pytest.mark.needs("chromium")` skips a test, with the reason, where Chromium is missing.
`.ci/run` installs whatever can be installed, so under `CI=true` such a skip is a failure. Two
things no script can install: the shared folder of recorded speech, and a key for the real service.
`python -m tests.needs` names what `.ci/run` has to install, one command a line.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

ROOT = Path(__file__).resolve().parent.parent
LIVEKIT_SERVER_VERSION = "v1.13.5"
# What Cartesia's Python SDK runs with: it allows no websockets newer than 15.
CONFORMANCE_PYTHON = ROOT / ".venv-conformance" / "bin" / "python"
NODE_FOLDER = ROOT / "tests" / "conformance" / "node"


@dataclass(frozen=True, slots=True)
class Need:
    """One thing a machine has or has not.

    Attributes:
        found: Where it is; None when it is missing.
        advice: What to do to get it.
        installable: Whether `.ci/run` installs it.
    """

    found: Callable[[], Path | str | None]
    advice: str
    installable: bool = True


def audio_folder() -> Path | None:
    """The shared recordings: `INK_AUDIO_DIR`, or `../shared/audio` beside the checkout."""
    named = os.environ.get("INK_AUDIO_DIR")
    folder = Path(named) if named else ROOT.parent / "shared" / "audio"
    return folder if (folder / "transcripts.json").is_file() else None


def livekit_server() -> Path | None:
    """The LiveKit server's program: `INK_LIVEKIT_SERVER`, on PATH, or where `.ci/run` put it."""
    named = os.environ.get("INK_LIVEKIT_SERVER") or shutil.which("livekit-server")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = cache / "cartesia-ink-plugins" / f"livekit-{LIVEKIT_SERVER_VERSION}" / "server"
    return program if os.access(program, os.X_OK) else None


def chromium() -> str | None:
    """A Chromium that can be driven without a screen."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def pulseaudio() -> str | None:
    """PulseAudio, and what leads PortAudio to it."""
    libraries = (find_library("portaudio"), *Path("/usr/lib").glob("*/alsa-lib/*_pcm_pulse.so"))
    return shutil.which("pulseaudio") if len(libraries) > 1 and all(libraries) else None


def node() -> str | None:
    """Node.js, with npm."""
    return shutil.which("npm") and shutil.which("node")


def node_clients() -> Path | None:
    """The stamp that says that the clients of the API which run on Node are installed."""
    stamp = NODE_FOLDER / "node_modules" / ".has-clients"
    return stamp if stamp.is_file() else None


def network_namespaces() -> str | None:
    """`ip`, for root, who may cut a cable; not in CI, where nobody promises that."""
    if os.environ.get("CI", "").lower() == "true" or os.geteuid() != 0:
        return None
    ip = shutil.which("ip")
    name = f"ink-try-{os.getpid()}"
    if ip is None or subprocess.run([ip, "netns", "add", name], capture_output=True).returncode:
        return None
    subprocess.run([ip, "netns", "del", name], capture_output=True, check=True)
    return ip


NEEDS: dict[str, Need] = {
    "audio": Need(
        audio_folder, "set INK_AUDIO_DIR to the folder of shared recordings", installable=False
    ),
    "cartesia-sdk": Need(
        lambda: CONFORMANCE_PYTHON if CONFORMANCE_PYTHON.is_file() else None, "make environments"
    ),
    "cartesia-key": Need(
        lambda: os.environ.get("INK_LIVE_TESTS") and os.environ.get("CARTESIA_API_KEY"),
        "set CARTESIA_API_KEY and INK_LIVE_TESTS=1 to talk to the real service",
        installable=False,
    ),
    "chromium": Need(chromium, "apt-get install chromium"),
    "network-namespaces": Need(
        network_namespaces,
        "run as root on Linux with iproute2, outside of CI",
        installable=False,
    ),
    "node": Need(node, "apt-get install nodejs npm"),
    "node-clients": Need(node_clients, "make node-clients"),
    "otel-collector": Need(
        lambda: os.environ.get("INK_OTEL_COLLECTOR") or shutil.which("otelcol"),
        "build one with OpenTelemetry's builder (receiver otlp, exporter debug) and name it in "
        "INK_OTEL_COLLECTOR",
        installable=False,
    ),
    "pulseaudio": Need(
        pulseaudio, "apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
    ),
    "redis-server": Need(lambda: shutil.which("redis-server"), "apt-get install redis-server"),
    "livekit-server": Need(
        livekit_server,
        f"go install github.com/livekit/livekit-server/cmd/server@{LIVEKIT_SERVER_VERSION}",
    ),
}


def missing(what: str) -> Need | None:
    """What is missing, or None when the machine has it.

    Args:
        what: A name of `NEEDS`, or a requirement such as `pipecat-ai>=1.12`.

    Raises:
        LookupError: It is neither.
    """
    if what in NEEDS:
        need = NEEDS[what]
        return None if need.found() else need
    try:
        requirement = Requirement(what)
    except InvalidRequirement:
        requirement = None
    if requirement is None or not re.search(r"[<>=~!]", what):
        raise LookupError(f"needs({what!r}): neither in tests/needs.py nor a versioned requirement")
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Need(lambda: None, f"pip install '{what}'")
    if requirement.specifier.contains(version, prereleases=True):
        return None
    # The floors are older on purpose.
    return Need(lambda: None, f"{requirement.name} is {version} here", installable=False)


if __name__ == "__main__":
    for need in NEEDS.values():
        if need.installable and not need.found():
            print(need.advice)
