"""Clients that are programs of their own, in other environments or languages, run against a server.

Each takes a task in JSON as its argument and raw 16-bit mono audio as its input, and prints its
result in JSON.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.needs import CONFORMANCE_PYTHON, NODE_FOLDER, ROOT

PATIENCE = 120.0  # seconds, for a client that needs some to start on a busy machine


@dataclass(frozen=True, slots=True)
class Program:
    """A client.

    Attributes:
        command: What runs it.
        marks: Skips a test where the client cannot run.
    """

    command: tuple[str, ...]
    marks: pytest.MarkDecorator

    async def run(
        self,
        base_url: str,
        audio: bytes,
        *,
        endpoint: str = "turns",
        model: str = "ink-2",
        rate: int = 16_000,
        pieces: Sequence[int] = (),
        real_time: bool = False,
        version: str | None = None,
    ) -> Any:
        """Run the client to its end and return what it printed.

        Args:
            base_url: The server.
            audio: What it speaks: raw 16-bit mono audio, or a WAV file for `batch`.
            endpoint: `turns`, `manual`, `batch` or `token`.
            model: The model.
            rate: Samples per second.
            pieces: Bytes of audio before each `finalize` of the manual endpoint.
            real_time: Whether audio is sent in real time, and not at once.
            version: The `cartesia_version`, if not the client's own.
        """
        task = {
            "url": base_url,
            "endpoint": endpoint,
            "model": model,
            "rate": rate,
            "pieces": list(pieces),
            "real_time": real_time,
            "version": version,
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.command, json.dumps(task), stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            async with asyncio.timeout(PATIENCE):
                output, errors = await process.communicate(audio)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0 and output, errors.decode()
        return json.loads(output)


ON_NODE = pytest.mark.needs("node", "node-clients")
PYTHON_SDK = Program(
    (str(CONFORMANCE_PYTHON), str(ROOT / "tests/conformance/python_sdk.py")),
    pytest.mark.needs("cartesia-sdk"),
)
TYPESCRIPT_SDK = Program(("node", str(NODE_FOLDER / "cartesia_sdk.cjs")), ON_NODE)
LIVEKIT_NODE = Program(("node", str(NODE_FOLDER / "livekit_plugin.mjs")), ON_NODE)
