"""`examples/livekit_agent.py console`: the agent in a terminal, with no LiveKit server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from cartesia_ink_plugins.server.speech.process import ANY_KEY
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.harness import until
from tests.needs import ROOT

pytestmark = pytest.mark.timeout(120)

EXAMPLE = ROOT / "examples" / "livekit_agent.py"
CTRL_C = "\x03"
WITHOUT_SOUND = """
import runpy, sys
sys.modules["sounddevice"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Terminal:
    """A terminal in which a program runs."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self._master = master
        self._shown = ""
        asyncio.get_running_loop().add_reader(master, self._read)

    @property
    def text(self) -> str:
        """All that was shown, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown)

    async def shows(self, text: str) -> None:
        """Wait for a text."""
        await until(lambda: text in self.text, seconds=60.0)

    async def write(self, text: str) -> None:
        """Type a text, as fast as people do."""
        for character in text:
            os.write(self._master, character.encode())
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Take the terminal away."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # the program is gone
            self._shown += os.read(self._master, 65536).decode(errors="replace")


@asynccontextmanager
async def terminal(
    *arguments: str, environment: dict[str, str], program: Path = EXAMPLE
) -> AsyncIterator[Terminal]:
    """Run the example, or another program, in a terminal of its own."""
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        *arguments,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0", **environment},
        preexec_fn=_own_terminal,
    )
    os.close(slave)
    shown = Terminal(process, master)
    try:
        yield shown
    except BaseException:
        print(shown.text)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()
        shown.close()


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def test_the_agent_answers_what_is_written_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    async with InkServer(Script()) as ink:
        environment = {
            "CARTESIA_BASE_URL": ink.url,
            "CARTESIA_API_KEY": ANY_KEY,
            "INK_RECORD": str(tmp_path),
        }
        async with terminal("console", "--text", environment=environment) as screen:
            await screen.shows("Type to talk to your agent")
            await screen.write("I would like a table for two\r")
            await screen.shows("For which day may I book?")
            assert [connection.is_open for connection in ink.connections] == [True]
            await screen.write(CTRL_C)
            assert await asyncio.wait_for(screen.process.wait(), 20.0) == 130
            assert "Traceback" not in screen.text
            assert f"What happened in this call: {tmp_path}" in "".join(screen.text.split("\r\n"))
            assert list(tmp_path.glob("*.html"))  # noqa: ASYNC240
            with pytest.raises(ProcessLookupError):
                os.killpg(screen.process.pid, 0)
        assert not any(connection.is_open for connection in ink.connections)


def test_without_a_sound_device_it_says_so_in_one_line() -> None:
    """The framework itself would end with status 0 and not a word."""
    command = [sys.executable, "-c", WITHOUT_SOUND, str(EXAMPLE), "console"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("livekit_agent.py: console: no microphone")
    assert "console --text" in line
