"""Whoever ends a bot need not wait until its callers have hung up, and is not shown a traceback."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets import ConnectionClosed

from cartesia_ink_plugins.testing import InkServer
from tests.e2e.bots import RunningBot, running_bot
from tests.e2e.browser.prompter import Prompter
from tests.e2e.calling import web_call
from tests.e2e.test_twilio_bot import telephone_call

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def bot_with_ink(example: str, transport: str) -> AsyncIterator[tuple[RunningBot, InkServer]]:
    async with InkServer(Prompter()) as server:
        environment = {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any"}
        async with running_bot(example, transport=transport, environment=environment) as bot:
            yield bot, server


async def ends(bot: RunningBot, number: signal.Signals) -> tuple[int | None, str]:
    """The exit status, and what was said since it was told to end."""
    bot.process.send_signal(number)
    await asyncio.wait_for(bot.process.wait(), 40)
    _, _, said = (await bot.log).decode().partition("Application startup complete.")
    return bot.process.returncode, said


async def test_ctrl_c_hangs_up_in_the_browser() -> None:
    async with (
        bot_with_ink("pipecat_bot.py", "webrtc") as (bot, server),
        web_call(bot.url, []) as call,
    ):
        async with asyncio.timeout(60):
            while not call.messages:
                await asyncio.sleep(0.05)
        status, said = await ends(bot, signal.SIGINT)
        assert status == 0
        assert "Traceback" not in said
        assert len(server.connections) == 1


async def test_ending_it_hangs_up_on_the_telephone() -> None:
    async with bot_with_ink("twilio_bot.py", "twilio") as (bot, _):
        with suppress(ConnectionClosed):
            async with telephone_call(bot.url) as call:
                await call.listens("voice")
                status, said = await ends(bot, signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert "Traceback" not in said
