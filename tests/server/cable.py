"""A server behind a cable that can be cut: a network namespace, joined by a pair of devices."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.needs import ROOT

COMMAND = """
import argparse, sys
from cartesia_ink_plugins.cli import serve
parser = argparse.ArgumentParser()
serve.add_parser(parser.add_subparsers())
arguments = parser.parse_args(sys.argv[1:])
sys.exit(arguments.run(arguments))
"""


@dataclass(frozen=True, slots=True)
class Cable:
    """What joins this machine to the one in the namespace."""

    namespace: str
    near: str
    far: str
    url: str

    def cut(self) -> None:
        """Let packets vanish in both directions; nobody is told."""
        ip("-n", self.namespace, "link", "set", self.far, "down")

    def mend(self) -> None:
        ip("-n", self.namespace, "link", "set", self.far, "up")

    def throttle(self, rate: str) -> None:
        """Let no more than `rate`, such as `300kbit`, through to the server."""
        shape = ["tbf", "rate", rate, "burst", "4kb", "latency", "500ms"]
        run("tc", "qdisc", "replace", "dev", self.near, "root", *shape)


@contextmanager
def server_behind_a_cable(script: Path) -> Iterator[Cable]:
    """Run `cartesia-ink serve` with a script in a namespace of its own."""
    name = uuid.uuid4().hex[:8]
    subnet = f"10.{int(name[:2], 16)}.{int(name[2:4], 16)}"
    cable = Cable(f"ink-{name}", f"ink-{name}a", f"ink-{name}b", f"http://{subnet}.2:8765")
    process: subprocess.Popen[str] | None = None
    ip("netns", "add", cable.namespace)
    try:
        ip("link", "add", cable.near, "type", "veth", "peer", "name", cable.far)
        ip("link", "set", cable.far, "netns", cable.namespace)
        ip("addr", "add", f"{subnet}.1/30", "dev", cable.near)
        ip("link", "set", cable.near, "up")
        ip("-n", cable.namespace, "addr", "add", f"{subnet}.2/30", "dev", cable.far)
        ip("-n", cable.namespace, "link", "set", cable.far, "up")
        inside = ["ip", "netns", "exec", cable.namespace]
        serve = [sys.executable, "-c", COMMAND, "serve", "--host", f"{subnet}.2"]
        process = subprocess.Popen(
            [*inside, *serve, "--engine", "script", str(script), "--quiet"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Ink server at ")
        yield cable
    finally:
        if process is not None:
            process.kill()
            process.communicate()
        ip("netns", "del", cable.namespace)


def ip(*arguments: str) -> None:
    run("ip", *arguments)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
