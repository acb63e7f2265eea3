"""See and hear a call through a real LiveKit server: `make livekit`.

Starts the server, the worker of `examples/livekit_agent.py` and the recorded caller, who joins a
room as any participant would; shows what both say as it is transcribed in the room; saves the
agent's voice. It needs no key and no network, and leaves nothing behind, with Ctrl-C either.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import wave
from contextlib import ExitStack
from pathlib import Path

from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.demo.caller import Caller
from cartesia_ink_plugins.server.speech.process import SpeechServer
from tests.e2e.livekit.caller import AGENT_RATE, PATIENT, RoomCaller, Said
from tests.e2e.livekit.rig import LiveKitServer, Worker
from tests.needs import NEEDS, ROOT

AGENT = ROOT / "examples" / "livekit_agent.py"
_COLOURS = {"caller": "\x1b[36m", "agent": "\x1b[32m"}
_PLAIN = "\x1b[0m"


def main() -> int:
    """Hold the call.

    Returns:
        The exit status: 2 when something is missing, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--save",
        type=Path,
        default=Path("livekit-agent.wav"),
        metavar="FILE.wav",
        help="where the agent's voice is saved (%(default)s)",
    )
    arguments = parser.parse_args()
    need = NEEDS["livekit-server"]
    try:
        if not need.found():
            return _fail(f"the LiveKit server is missing: {need.advice}, and put it on PATH")
        if not arguments.save.parent.is_dir():
            return _fail(f"{arguments.save.parent}: no such directory")
        run_loop(hold(arguments.save))
    except KeyboardInterrupt:
        return 130
    except (InkError, RuntimeError) as error:
        return _fail(str(error))
    return 0


async def hold(path: Path, voice: Caller | None = None) -> RoomCaller:
    """Hold one call.

    Args:
        path: Where the agent's voice is saved.
        voice: Who calls; the recorded caller by default.
    """
    screen = Screen()
    voice = voice or Caller(timing=PATIENT)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="livekit-")))
        environment: dict[str, str] = {}
        if not os.environ.get("CARTESIA_API_KEY"):
            screen.say("Starting a local Ink server ...")
            ink = SpeechServer()
            stack.callback(ink.stop)
            await asyncio.to_thread(ink.start)
            environment = ink.environment()
        screen.say("Starting the LiveKit server and a worker ...")
        async with (
            LiveKitServer(folder) as server,
            Worker(AGENT, server, folder, env=environment),
            RoomCaller(
                server.url, server.token("caller", "table"), voice, watch=screen.show
            ) as caller,
        ):
            screen.say(f"The caller joined the room at {server.url}.\n")
            try:
                await caller.converse()
            finally:
                _save(path, bytes(caller.agent_voice))
        screen.say(f"\nThe agent's voice is in {path}.")
    return caller


class Screen:
    """Shows the call as it goes on; what is still being said is written over."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._unfinished = False

    def say(self, text: str) -> None:
        """Show a line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def show(self, said: Said) -> None:
        """Show what one of the two says, or has said."""
        if not said.is_final and not self._terminal:
            return
        who = "caller" if said.who == "caller" else "agent"
        line = f"{time.monotonic() - self._began:7.2f} s  {who:6}  {said.text.strip()}"
        if self._terminal:
            line = f"{_COLOURS[who]}{line if said.is_final else line[:99]}{_PLAIN}"
        start = "\r\x1b[K" if self._unfinished else ""
        sys.stdout.write(start + line + ("\n" if said.is_final else ""))
        sys.stdout.flush()
        self._unfinished = not said.is_final


def _save(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AGENT_RATE)
        file.writeframes(pcm)


def _fail(text: str) -> int:
    sys.stderr.write(f"make livekit: {text}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
