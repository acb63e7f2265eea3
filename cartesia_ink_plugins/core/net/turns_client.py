"""The client of the endpoint with turn detection.

    async with InkTurnsClient(TurnsOptions(), Credentials.from_environment()) as client:
        client.send_audio(pcm)
        async for event in client:
            ...

What it does is decided by `TurnsSession` and carried out by `StreamClient`.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterable, Sequence

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.events import Event
from cartesia_ink_plugins.core.net.client import StreamClient
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.tap import Tap
from cartesia_ink_plugins.core.turns.session import TurnsSession
from cartesia_ink_plugins.observe.call import Call
from cartesia_ink_plugins.observe.options import Record


class InkTurnsClient(StreamClient[TurnsSession, Event]):
    """Streaming speech-to-text with turn detection on the server.

    Audio goes in with `send_audio`, which never waits; events come out in order, by iteration or by
    `on_event`. The iteration ends after `finish` or `aclose`, and raises `RejectedError` once if
    the server rejects the session permanently. Lost connections are not visible in the turns.
    """

    def __init__(
        self,
        options: TurnsOptions | None = None,
        credentials: Credentials | None = None,
        *,
        resilience: Resilience | None = None,
        ssl_context: ssl.SSLContext | None = None,
        on_event: Callable[[Event], None] | None = None,
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
        super().__init__(credentials, resilience, ssl_context, on_event, taps, record, call)
        self._options = options or TurnsOptions()

    @property
    def options(self) -> TurnsOptions:
        """What the next connection asks for, with all changes made so far."""
        return self._made[0].options if self._made else self._options

    def configure(self, changes: TurnSettings) -> None:
        """Change thresholds of turn detection in mid-session, without a new connection.

        If the server rejects them, a `SettingsRejected` event follows and the former ones hold.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        session, loop = self._get_or_make()
        session.configure(changes, loop.time())
        self._drive()

    def update_keyterms(self, keyterms: Sequence[str]) -> None:
        """Change the keyterms from the next turn on, over a new connection; no audio is lost.

        Raises:
            UsageError: There are more than 100, or they have more than 1200 characters.
        """
        session, loop = self._get_or_make()
        session.update_keyterms(keyterms, loop.time())
        self._drive()

    def _set_options(self, options: TurnsOptions) -> None:
        self._options = options

    def _make_session(self, epoch: float, session_id: str, taps: Iterable[Tap]) -> TurnsSession:
        return TurnsSession(
            self._options,
            self._resilience,
            jitter=random.random,
            epoch=epoch,
            session_id=session_id,
            taps=taps,
        )
