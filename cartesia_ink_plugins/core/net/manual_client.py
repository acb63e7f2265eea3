"""The client of the manual endpoint: the caller decides when speech is over.

    async with InkManualClient(ManualOptions(), Credentials.from_environment()) as client:
        client.send_audio(pcm)
        final = await client.finalize()
        print(final.text)

What it does is decided by `ManualSession` and carried out by `StreamClient`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable, Sequence

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import ClosedError
from cartesia_ink_plugins.core.events import Final, ManualEvent
from cartesia_ink_plugins.core.manual.session import ManualSession
from cartesia_ink_plugins.core.net.client import StreamClient
from cartesia_ink_plugins.core.options import ManualOptions, Resilience
from cartesia_ink_plugins.core.tap import Moment, Tap
from cartesia_ink_plugins.observe.call import Call
from cartesia_ink_plugins.observe.options import Record


class InkManualClient(StreamClient[ManualSession, ManualEvent]):
    """Streaming speech-to-text in which the application decides when speech is over.

    Audio goes in with `send_audio`, which never waits. `finalize` returns the text up to there. The
    events, by iteration or by `on_event`, have the text while it is spoken: an `Interim` never has
    a broken word, and every `finalize` gives one `Final`. Lost connections are not visible.
    """

    def __init__(
        self,
        options: ManualOptions | None = None,
        credentials: Credentials | None = None,
        *,
        resilience: Resilience | None = None,
        ssl_context: ssl.SSLContext | None = None,
        on_event: Callable[[ManualEvent], None] | None = None,
        taps: Iterable[Tap] = (),
        record: Record | None = None,
        call: Call | None = None,
    ) -> None:
        """Prepare a client; nothing is connected before `start`.

        Args:
            options: What to ask for; 16 kHz 16-bit audio to `ink-2` by default.
            credentials: How to authenticate; the API key in `CARTESIA_API_KEY` by default.
            resilience: How the session recovers from lost connections.
            ssl_context: For a server whose certificate is not publicly trusted.
            on_event: Receives each event when it arrives, in place of iteration.
            taps: Observers of everything that happens in the session.
            record: Where to record the call: a folder, a name ending in `.ink`, or
                `RecordOptions`; as the environment says (`INK_RECORD`) by default.
            call: What the client is a part of, when a call has several; `record` is then the
                call's.

        Raises:
            UsageError: No credentials were given and the environment has none, or `record` is
                wrong.
        """
        self._waiting: dict[int, asyncio.Future[Final]] = {}
        super().__init__(
            credentials,
            resilience,
            ssl_context,
            on_event,
            (_FinalTap(self._waiting), *taps),
            record,
            call,
        )
        self._options = options or ManualOptions()

    @property
    def options(self) -> ManualOptions:
        """What the next connection asks for."""
        return self._made[0].options if self._made else self._options

    def request_final(self, timeout: float | None = None) -> asyncio.Future[Final]:
        """Say that speech is over, and return at once.

        Args:
            timeout: As of `finalize`.

        Returns:
            What `finalize` waits for; may be ignored by an application that reads the events.

        Raises:
            ClosedError: After `finish` or `aclose`, or when the server has rejected the session.
            UsageError: The timeout is not positive.
        """
        session, loop = self._started()
        number = session.next_final
        future = self._waiting.get(number)
        if future is None or future.done():
            future = loop.create_future()
        self._waiting[number] = future
        try:
            session.finalize(loop.time(), timeout)
        except Exception:
            del self._waiting[number]
            raise
        self._drive()
        return future

    async def finalize(self, timeout: float | None = None) -> Final:
        """Say that speech is over, and wait for the text up to there.

        Without audio since the last call the result is empty and comes at once. A call while
        another one waits, with no audio between them, gets the same result.

        Args:
            timeout: Seconds to wait once the audio is sent; the `drain_timeout` of the resilience
                by default. After that the result has the text known so far and is not complete;
                text that arrives later is at the beginning of the next final.

        Returns:
            The text since the last call.

        Raises:
            ClosedError: After `finish` or `aclose`, or when one of them is called meanwhile.
            RejectedError: The server rejects the session.
            UsageError: The timeout is not positive.
        """
        return await asyncio.shield(self.request_final(timeout))

    def update_keyterms(self, keyterms: Sequence[str]) -> None:
        """Change the keyterms from the next pause on, over a new connection; no audio is lost.

        Raises:
            UsageError: There are too many, or the model takes none.
        """
        session, loop = self._get_or_make()
        session.update_keyterms(keyterms, loop.time())
        self._drive()

    # --- inside -------------------------------------------------------------------------------

    def _set_options(self, options: ManualOptions) -> None:
        self._options = options

    def _make_session(self, epoch: float, session_id: str, taps: Iterable[Tap]) -> ManualSession:
        return ManualSession(
            self._options,
            self._resilience,
            jitter=random.random,
            epoch=epoch,
            session_id=session_id,
            taps=taps,
        )

    def _ended(self) -> None:
        """No answer will come any more."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(
                    self.rejection or ClosedError("finalize: the client was closed")
                )
                future.exception()  # marks it as retrieved: nobody may be waiting


class _FinalTap:
    """Gives the finals to those who wait for them, whether the events are read or not."""

    kinds = frozenset({Final})

    def __init__(self, waiting: dict[int, asyncio.Future[Final]]) -> None:
        """Answer the waiting calls, which are numbered like the finals."""
        self._waiting = waiting

    def on(self, moment: Moment) -> None:
        """Answer the call that a final belongs to."""
        final = moment.payload
        if isinstance(final, Final) and final.timing:
            future = self._waiting.pop(final.timing.turn, None)
            if future is not None and not future.done():
                future.set_result(final)
