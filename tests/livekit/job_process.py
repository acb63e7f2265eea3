"""A process of a job of LiveKit: nothing is configured, and one turn is spoken to a server."""

from __future__ import annotations

import asyncio
import sys

import livekit.agents  # noqa: F401  imports OpenTelemetry and the client of Prometheus

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnsOptions
from tests.observe.telemetry.plain_app import SCRIPT


async def main(url: str) -> None:
    options = TurnsOptions(base_url=url)
    async with InkTurnsClient(options, Credentials(api_key="any")) as ink:
        ink.send_audio(SCRIPT.audio(options.format))
        await ink.finish(30.0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
