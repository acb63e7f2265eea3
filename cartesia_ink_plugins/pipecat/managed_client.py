"""The client of a service, over the changes that need another one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.services.stt_service import STTService

from cartesia_ink_plugins.core.errors import ClosedError
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    ConnectFailed,
    Disconnected,
    ErrorMessage,
    Event,
    Final,
    ManualEvent,
    SettingsRejected,
    Unreachable,
)
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.core.options import TurnSettings
from cartesia_ink_plugins.core.stats import UsageMeter
from cartesia_ink_plugins.core.tap import MomentKind, Tracing
from cartesia_ink_plugins.observe.stats import StatsGroup
from cartesia_ink_plugins.pipecat.audio_converter import AudioConverter

Client = InkTurnsClient | InkManualClient
T = TypeVar("T")
_CONNECTION_EVENTS = (
    Connected,
    Disconnected,
    ConnectFailed,
    Unreachable,
    AudioGap,
    ErrorMessage,
    SettingsRejected,
)
# Seconds after its deadline for which the client may still be giving its last events.
_LAST_EVENTS = 0.25


class ManagedClient(Generic[T]):
    """Makes one client after another: a new one for another sample rate, or after a rejection."""

    def __init__(
        self,
        host: STTService,
        *,
        make: Callable[[int], Client],
        stats: StatsGroup,
        call: Callable[..., Awaitable[None]],
        on_transcript: Callable[[T], None] | None = None,
        handle_transcript: Callable[[T], Awaitable[None]] | None = None,
        on_settings_rejected: Callable[[TurnSettings], None] | None = None,
    ) -> None:
        """Prepare; `open` connects.

        Args:
            host: The service.
            make: Makes a client, given the sample rate in Hz.
            stats: Counts what happens to all clients of the service.
            call: Calls the user's handlers of a named event.
            on_transcript: Receives the events that have the user's text the moment they arrive.
            handle_transcript: Handles them instead, in one order with those of the connection.
            on_settings_rejected: Called with the thresholds that hold after the server has rejected
                others.
        """
        self._host = host
        self._make = make
        self._stats = stats
        self._on_transcript = on_transcript
        self._handle_transcript = handle_transcript
        self._on_settings_rejected = on_settings_rejected
        self._call = call
        self._client: Client | None = None
        self._reader: asyncio.Task[None] | None = None
        self._converter: AudioConverter | None = None
        self._has_audio = False
        self._is_online = False
        self._pending: asyncio.Queue[Event | ManualEvent | None] = asyncio.Queue()
        self._usage = UsageMeter()
        self._unreported = 0.0
        self.is_rejected = False
        self.tracing: Tracing | None = None

    # -- lifecycle --------------------------------------------------------------------------------

    def open(self, sample_rate: int) -> None:
        """Begin to connect, for audio of this rate in Hz."""
        client = self._make(sample_rate)
        self._stats.add(client.observers.stats)
        client.observers.tracing = self.tracing
        self._converter = AudioConverter(client.options.format)
        self._usage = UsageMeter()
        self._pending = asyncio.Queue()
        self.is_rejected = False
        client.on_event = self._receive
        client.start()
        self._client = client
        self._reader = self._host.create_task(self._read(client), "events")

    async def reopen(self) -> None:
        """Close the session at once and begin another; the application is told nothing of it."""
        converter = self._converter
        await self._close_client()
        if converter is not None:
            self.open(converter.format.sample_rate)

    async def finish(self, timeout: float) -> None:
        """Send what there is, and wait until the last events were fed.

        Args:
            timeout: Seconds that this may take, whatever the state of the network. What could not
                be transcribed by then is reported as a gap.
        """
        client, reader = self._client, self._reader
        if client is None or reader is None:
            return
        self._send_held()
        try:
            async with asyncio.timeout(timeout + _LAST_EVENTS):
                await client.finish(timeout)
                await asyncio.wait([reader])
        except TimeoutError:
            await client.aclose()
            await asyncio.wait([reader], timeout=_LAST_EVENTS)

    async def close(self) -> None:
        """End at once; nothing is left. May be called again."""
        if self._client:
            await self._close_client()
            await self._went_offline()

    async def _close_client(self) -> None:
        client, reader = self._client, self._reader
        self._client = self._reader = None
        if client:
            await client.aclose()
        if reader:
            await self._host.cancel_task(reader)
        if client:
            self._count(client)

    # -- what goes in -----------------------------------------------------------------------------

    def send(self, frame: InputAudioRawFrame) -> None:
        """Take a frame; the rate of the first one is what is declared to the server."""
        if not self._has_audio:
            self._has_audio = True
            if self._client and self._client.options.sample_rate != frame.sample_rate:
                logger.info(f"the audio has {frame.sample_rate} Hz; declaring that")
                self._client.set_sample_rate(frame.sample_rate)
                self._converter = AudioConverter(self._client.options.format)
        if self._converter:
            self._send(self._converter.convert(frame))

    def _send_held(self) -> None:
        """Send what the resampler still holds."""
        if self._converter:
            self._send(self._converter.flush())

    def _send(self, pcm: bytes) -> None:
        if self._client and pcm:
            try:
                self._client.send_audio(pcm)
            except ClosedError:
                # The session ended between two frames; whoever ended it has said why.
                return

    def audio_stopped(self) -> None:
        """Say that no audio follows for now."""
        self._send_held()
        if self._client:
            try:
                self._client.audio_stopped()
            except ClosedError:
                return  # the session ended; whoever ended it has said why

    def configure(self, changes: TurnSettings) -> None:
        """Change thresholds in mid-session."""
        if isinstance(self._client, InkTurnsClient):
            self._client.configure(changes)

    def update_keyterms(self, keyterms: list[str]) -> None:
        """Expect other key terms from the next turn on."""
        if self._client:
            self._client.update_keyterms(keyterms)

    def request_final(self) -> asyncio.Future[Final] | None:
        """Say that speech is over; None when there is no session."""
        if not isinstance(self._client, InkManualClient):
            return None
        self._send_held()
        try:
            return self._client.request_final()
        except ClosedError:
            return None

    def report(self, kind: MomentKind, payload: object = None) -> None:
        """Tell the taps of the session what the framework did."""
        if self._client:
            self._client.report(kind, payload)

    def take_usage(self) -> float:
        """Seconds of audio that were sent since this was called last, by whichever client."""
        if self._client:
            self._count(self._client)
        usage, self._unreported = self._unreported, 0.0
        return usage

    @property
    def position(self) -> float:
        """Seconds of the stream that were handed in so far."""
        numbers = self._client.snapshot() if self._client else None
        return numbers.received + numbers.silence if numbers else 0.0

    def _count(self, client: Client) -> None:
        self._unreported += self._usage.take(client.snapshot())

    # -- what comes out ---------------------------------------------------------------------------

    def _receive(self, event: Event | ManualEvent) -> None:
        """Pass text on at once; what may take time is done beside the client, in order."""
        if self._on_transcript is None or isinstance(event, _CONNECTION_EVENTS):
            self._pending.put_nowait(event)
        else:
            self._on_transcript(cast("T", event))

    async def _read(self, client: Client) -> None:
        """Handle the events of connections, until the session is over."""
        pending = self._pending
        closing = asyncio.ensure_future(client.wait_closed())
        closing.add_done_callback(lambda _: pending.put_nowait(None))
        try:
            while (event := await pending.get()) is not None:
                await self._handle(event)
        finally:
            closing.cancel()
        if (error := client.rejection) is not None:
            self.is_rejected = True
            await self._went_offline()
            await self._call("on_connection_error", str(error))
            await self._host.push_error(
                f"Ink rejects this session: {error}",
                exception=error,
                force_treat_as_permanent=True,
            )

    async def _handle(self, event: Event | ManualEvent) -> None:
        match event:
            case Connected(request_id=request_id):
                logger.info(f"{self._host}: connected (request_id={request_id})")
                # A connection that takes the place of another, for new key terms, is no news.
                if not self._is_online:
                    self._is_online = True
                    await self._call("on_connected")
            case Disconnected(reason=reason, retry_in=retry_in):
                await self._went_offline()
                if retry_in is not None:
                    logger.warning(f"{self._host}: going on with a new connection: {reason}")
                    await self._call("on_connection_error", reason)
            case ConnectFailed(reason=reason):
                # It was to take the place of another connection, without a word of that.
                await self._went_offline()
                logger.warning(f"{self._host}: {reason}")
                await self._call("on_connection_error", reason)
            case Unreachable(reason=reason, check=check):
                await self._host.push_error(f"Ink cannot be reached: {reason}; check {check}")
            case AudioGap(seconds=seconds):
                logger.warning(f"{self._host}: {seconds:.2f} s of audio had to be given up")
                await self._call("on_audio_gap", seconds)
            case ErrorMessage(status=status, message=message):
                await self._host.push_error(f"Ink reports an error ({status}): {message}")
            case SettingsRejected(error=error, turn=turn):
                if self._on_settings_rejected:
                    self._on_settings_rejected(turn)
                await self._host.push_error(f"Ink rejects the new settings: {error.message}")
            case _ if self._handle_transcript is not None:
                await self._handle_transcript(cast("T", event))

    async def _went_offline(self) -> None:
        if self._is_online:
            self._is_online = False
            await self._call("on_disconnected")
