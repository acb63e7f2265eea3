"""Ctrl-C ends everything at any moment, without a traceback and with status 130.

Whoever ends a bot need not wait until its callers have hung up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets import ConnectionClosed

from cartesia_ink_plugins.demo import caller
from cartesia_ink_plugins.testing import InkServer
from tests.e2e.bots import EXAMPLES, RunningBot, running_bot
from tests.e2e.browser.prompter import Prompter
from tests.e2e.calling import web_call
from tests.e2e.test_twilio_bot import SIGNED, telephone_call

pytestmark = pytest.mark.timeout(240)

COMMAND = (
    "import sys; sys.argv[0] = 'cartesia-ink'; from _cartesia_ink import main; sys.exit(main())"
)
"""What the installed script does."""
SERVER = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "secret",
    "CARTESIA_API_KEY": "any",
    "CARTESIA_BASE_URL": "http://127.0.0.1:9",
}
RECORDING = str(Path(caller.__file__).with_name("4_name.opus"))


def interrupted(
    command: Sequence[str], until: Callable[[str], bool], *, importtime: bool = False
) -> tuple[int, str]:
    """Press Ctrl-C once a line is written; return the status, and all that was written.

    As in a terminal, the children of a program get the signal, too.
    """
    options = ["-X", "importtime"] if importtime else []
    process = subprocess.Popen(
        [sys.executable, *options, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **SERVER, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    written = []
    try:
        for line in process.stdout:
            written.append(line)
            if until(line):
                os.killpg(process.pid, signal.SIGINT)
                break
        else:
            raise AssertionError(f"it ended by itself: {''.join(written[-20:])}")
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = [*written, *rest.splitlines(keepends=True)]
    return process.returncode, "".join(x for x in lines if not x.startswith("import time:"))


EXAMPLE_IMPORTS = [
    ("plain_client.py", "numpy"),
    ("plain_client.py", "cartesia_ink_plugins.core.options"),
    ("pipecat_bot.py", "pipecat.frames.frames"),
    ("pipecat_bot.py", "fastapi"),
    ("twilio_bot.py", "numpy"),
    ("push_to_talk_pipecat.py", "loguru"),
    ("livekit_agent.py", "livekit.agents.stt"),
    ("livekit_agent.py", "cartesia_ink_plugins.livekit"),
    ("push_to_talk_livekit.py", "numpy"),
    ("livekit_redispatch.py", "aiohttp.web"),
]
COMMAND_IMPORTS = [
    (["transcribe", RECORDING], "numpy"),
    (["transcribe", RECORDING], "soundfile"),
    (["talk", "--file", RECORDING], "soxr"),
    (["demo"], "cartesia_ink_plugins.cli.calls"),
    (["demo", "--live"], "loguru"),
    (["serve"], "aiohttp"),
    (["--help"], "numpy"),
]


@pytest.mark.parametrize(("example", "module"), EXAMPLE_IMPORTS)
def test_an_example_that_is_being_imported_ends_at_once(example: str, module: str) -> None:
    command = [str(EXAMPLES / example), *(["start"] if "livekit" in example else [])]
    status, written = interrupted(command, imports(module), importtime=True)
    assert status == 130, written
    assert "Traceback" not in written and "KeyboardInterrupt" not in written


@pytest.mark.parametrize(("arguments", "module"), COMMAND_IMPORTS)
def test_a_command_that_is_being_imported_ends_at_once(arguments: list[str], module: str) -> None:
    status, written = interrupted(["-c", COMMAND, *arguments], imports(module), importtime=True)
    assert status == 130, written
    assert "Traceback" not in written and "KeyboardInterrupt" not in written


def imports(module: str) -> Callable[[str], bool]:
    """Whether a line tells that a module has been imported."""
    return lambda line: line.startswith("import time:") and line.split("|")[-1].strip() == module


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([str(EXAMPLES / "plain_client.py")], "not connected"),
        # While LiveKit starts processes it ignores Ctrl-C; it does not any more when it connects.
        ([str(EXAMPLES / "livekit_agent.py"), "start"], "failed to connect"),
        ([str(EXAMPLES / "push_to_talk_livekit.py"), "dev"], "failed to connect"),
        ([str(EXAMPLES / "livekit_redispatch.py")], "Running on"),
        (["-c", COMMAND, "serve", "--port", "0"], "http://"),
        (["-c", COMMAND, "transcribe", RECORDING], "1.2 s"),
        (["-c", COMMAND, "demo"], "Starting a local Ink server"),
    ],
)
def test_what_runs_ends_in_order(command: list[str], words: str) -> None:
    status, written = interrupted(command, lambda line: words in line)
    assert status == 130, written
    assert "Traceback" not in written and "KeyboardInterrupt" not in written


@asynccontextmanager
async def bot_with_ink(example: str, transport: str) -> AsyncIterator[tuple[RunningBot, InkServer]]:
    async with InkServer(Prompter()) as server:
        environment = {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any", **SIGNED}
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
        assert status == 130
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
