"""A local Ink server on its own thread, for tests.

So it needs no event loop of the test, works in plain functions and in coroutines of any framework,
and a bot that blocks its event loop does not block the server.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.engine import Engine
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.testing.asserts import difference

if TYPE_CHECKING:
    from cartesia_ink_plugins.testing.recording import Recording

_T = TypeVar("_T")


def _as_recording(engine: object) -> Recording | None:
    """Return the engine if it is a recording; never without `cartesia-ink-tools`."""
    try:
        from cartesia_ink_plugins.testing.recording import Recording
    except ModuleNotFoundError:
        return None
    return engine if isinstance(engine, Recording) else None


class LocalInk:
    """A running server; the value of the fixture `ink_server`.

    Attributes:
        strict: Whether `check` asserts anything. Turn it off in tests in which connections are lost
            or not all audio is sent.
        recording: The recording that is played; None if there is none.
    """

    def __init__(
        self,
        engine: Engine | Script | Recording | None = None,
        *,
        strict: bool = True,
        **options: Any,
    ) -> None:
        """Create a server.

        Args:
            engine: Recognizes the audio; a script can also be set with `play`. A recording plays
                the connections of its call in order.
            strict: See the attribute.
            **options: Arguments of `InkServer`.
        """
        self.strict = strict
        self._script = engine if isinstance(engine, Script) else None
        self.recording = _as_recording(engine)
        played = (
            self.recording.engine()
            if self.recording is not None
            else cast("Engine | Script | None", engine)
        )
        self._server = InkServer(Script() if played is None else played, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = self._new_thread()

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self._server.url

    @property
    def websocket_url(self) -> str:
        """The URL of the turns endpoint."""
        return self._server.websocket_url

    @property
    def connections(self) -> Collection[ConnectionRecord]:
        """One record for each connection."""
        return self._server.connections

    @property
    def transcripts(self) -> list[str]:
        """The text of every `turn.end` on every connection."""
        return [text for record in self.connections for text in record.transcripts]

    def play(self, *turns: str | Turn | Script) -> Script:
        """Recognize a script on new connections.

        Args:
            *turns: One script, or its turns.

        Returns:
            The script; send its `audio()` to the bot.
        """
        match turns:
            case (Script() as script,):
                pass
            case _:
                script = Script(*(turn for turn in turns if not isinstance(turn, Script)))
        self._script = script
        self._call(lambda: setattr(self._server, "engine", script.engine()))
        return script

    def close_all(self, code: int = 1012) -> None:
        """Close all connections at once, as a deploy of the service does."""
        self._call(lambda: self._server.close_all(code))

    def check(self) -> None:
        """Assert that the server rejected nothing and recognized each turn of the script once.

        Raises:
            AssertionError: With the difference.
        """
        if not self.strict:
            return
        complaints = [
            f"  connection {record.number}: {problem}"
            for record in self.connections
            if (problem := record.client_error or record.protocol_violation)
        ]
        if complaints:
            raise AssertionError("the Ink server refused something:\n" + "\n".join(complaints))
        if self._script is not None and self._script.turns:
            if not self.connections:
                raise AssertionError(f"nobody connected to the Ink server at {self.url}")
            wrong = difference(self._script.transcripts, self.transcripts)
            if wrong:
                raise AssertionError(f"the Ink server did not hear the script:\n{wrong}")

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is in use.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop the server and its thread; idempotent."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @asynccontextmanager
    async def in_this_loop(self) -> AsyncIterator[None]:
        """Serve in the running event loop, at the same URL; afterwards on a new thread."""
        self.stop()
        async with self._server:
            yield
        self._thread = self._new_thread()
        self._ready.clear()
        self.start()

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
        """Stop; then check, unless there was an exception."""
        self.stop()
        if error is None:
            self.check()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="ink-server", daemon=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._server:
            self._ready.set()
            await self._stop.wait()

    def _call(self, function: Callable[[], _T]) -> _T:
        """Call a function on the server's thread and wait for it."""
        if self._loop is None or not self._thread.is_alive():
            return function()

        async def call() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()
