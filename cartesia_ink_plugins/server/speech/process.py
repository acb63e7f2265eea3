"""A local Ink server in a process of its own, for bots that run with no key and no network.

Recognition then takes nothing from the conversation's event loop. The process ends with whoever
started it, even when that one is killed: it reads its standard input and leaves when that closes.

    with SpeechServer() as ink:
        os.environ |= ink.environment()
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Self

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.server.speech.weights import INSTALL

ANY_KEY = "local"
"""A key for a server that accepts any."""

_STOP_SECONDS = 5.0


class SpeechServer:
    """A server that hears real speech, on a free port of this machine.

    Attributes:
        url: Where it is: a base URL for every client; empty before it is started.
    """

    def __init__(self) -> None:
        """Prepare; nothing is started yet."""
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the server and wait until it listens, which takes some seconds.

        Raises:
            UsageError: The `speech` extra is not installed, or not as it should be.
            InkError: The server did not start.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal is for the bot, which stops the server
        )
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        fields = json.loads(answer) if answer.startswith("{") else {}
        if "url" in fields:
            self.url = fields["url"]
            return
        self.stop()
        if "error" in fields:
            raise UsageError(f"the local Ink server cannot run: {fields['error']}")
        raise InkError("the local Ink server did not start")

    def stop(self) -> None:
        """Stop it; may be called at any time."""
        process, self._process, self.url = self._process, None, ""
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def environment(self) -> dict[str, str]:
        """The environment variables that lead every client of this package to it."""
        return {"CARTESIA_BASE_URL": self.url, "CARTESIA_API_KEY": ANY_KEY}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start beside the event loop."""
        try:
            await asyncio.to_thread(self.start)
        except asyncio.CancelledError:
            # The thread waits for the server to speak; it will not any more.
            if self._process is not None:
                self._process.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop beside the event loop."""
        await asyncio.to_thread(self.stop)


async def serve() -> int:
    """Be the server: say where it is on standard output, serve until standard input closes."""
    try:
        from cartesia_ink_plugins.server.app import InkServer
        from cartesia_ink_plugins.server.speech.engine import SpeechEngine

        engine = await asyncio.to_thread(SpeechEngine)
    except ImportError as error:
        return _tell({"error": f"{error.name} is not installed; {INSTALL}"})
    except InkError as error:
        return _tell({"error": str(error)})
    async with InkServer(engine) as server:
        _tell({"url": server.url})
        await asyncio.to_thread(sys.stdin.read)
    return 0


def _tell(fields: dict[str, str]) -> int:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
    return 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(serve()))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever started it has gone, and waits for no answer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
