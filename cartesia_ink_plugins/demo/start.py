"""Starts an example bot with or without an API key, and reports what is missing."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.server.speech.process import SpeechServer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


@contextmanager
def offline_without_key() -> Iterator[None]:
    """Run a local Ink server while the bot runs, unless `CARTESIA_API_KEY` is set.

    A usage error is printed in one line and ends the program with status 2. Ctrl-C ends all calls;
    a second Ctrl-C exits at once.
    """
    try:
        _check_port()
        _hang_up_at_end()
        if os.environ.get("CARTESIA_API_KEY"):
            yield
            return
        _print("No CARTESIA_API_KEY: starting a local Ink server and an offline voice ...")
        with SpeechServer() as ink:
            os.environ.update(ink.environment())
            yield
    except InkError as error:
        _print(f"{os.path.basename(sys.argv[0])}: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _hang_up_at_end() -> None:
    """End all calls at Ctrl-C; Pipecat's runner would wait until they have ended."""
    from pipecat.runner.run import app

    app.add_middleware(_Calls)


class _Calls:
    """ASGI middleware that cancels open requests when the program is to end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[asyncio.Task[None]] = set()
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request (ASGI)."""
        if scope["type"] == "lifespan":
            self._join_signals()
            return await self._app(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._ended:
                raise
        finally:
            self._open.discard(task)

    def _join_signals(self) -> None:
        """Wrap uvicorn's signal handlers, which are installed before `lifespan` starts."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)

            def end(number: int, frame: FrameType | None, handler: Any = handler) -> None:
                if self._ended:
                    os._exit(128 + number)  # second signal; uvicorn would print a traceback
                self._ended = True
                loop.call_soon_threadsafe(self._hang_up)
                handler(number, frame)

            signal.signal(number, end)

    def _hang_up(self) -> None:
        for task in self._open:
            task.cancel()


def _print(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _check_port() -> None:
    """Check that the port of Pipecat's runner is free."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=7860)
    where, _ = parser.parse_known_args()
    if {"-h", "--help"} & set(sys.argv):
        return
    try:
        socket.create_server((where.host, where.port)).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", error)
        raise UsageError(
            f"port {where.port} of {where.host}: {reason}; take another with --port"
        ) from None
