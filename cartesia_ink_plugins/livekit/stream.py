"""One stream of recognition: audio frames of a room in, speech events out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from livekit import rtc
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APIStatusError,
    LanguageCode,
    stt,
)
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import aio, is_given

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, downmix
from cartesia_ink_plugins.core.errors import ClosedError, RejectedError
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    ConnectFailed,
    Disconnected,
    ErrorMessage,
    Event,
    Final,
    Interim,
    ManualEvent,
    SettingsRejected,
)
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.livekit.connections import Client, Connections
from cartesia_ink_plugins.livekit.log import logger
from cartesia_ink_plugins.livekit.manual_events import ManualSpeechEvents
from cartesia_ink_plugins.livekit.speech_events import SpeechEvents

if TYPE_CHECKING:
    from cartesia_ink_plugins.livekit.stt import STT

USAGE_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_IDLE_CLOSE = 1001


class InkRecognizeStream(stt.RecognizeStream):
    """Made by `STT.stream()`.

    The client does all redialling and replaying, so the base class has nothing to retry: an error
    leaves this stream only when the service refuses it for good.
    """

    def __init__(
        self,
        *,
        stt: STT,
        connections: Connections,
        conn_options: APIConnectOptions,
        sample_rate: NotGivenOr[int],
        language: LanguageCode,
        keep_min_delay: bool,
    ) -> None:
        """Wait for audio; see `STT` for the arguments."""
        super().__init__(stt=stt, conn_options=conn_options, sample_rate=sample_rate)
        self._connections = connections
        self._encoding = connections.options.format.encoding
        self._language = language
        self._keep_min_delay = keep_min_delay
        self._client: Client | None = None
        self._events: SpeechEvents | ManualSpeechEvents | None = None
        self._ended = asyncio.Event()
        self._awaited = True
        self._dialling_since: float | None = None
        self._unreported = 0.0
        self._reported = 0.0
        connections.expect()

    @property
    def language(self) -> LanguageCode:
        """What the transcripts are labelled with."""
        return self._language

    def update_options(
        self, *, language: NotGivenOr[str] = NOT_GIVEN, model: NotGivenOr[str] = NOT_GIVEN
    ) -> None:
        """Change what this stream's transcripts are labelled with.

        Args:
            language: As of `STT.update_options`, which has all that can change.
            model: As there.
        """
        if is_given(model) and model != self._stt.model:
            logger.warning("update_options: the model stays %r; make another STT", self._stt.model)
        if is_given(language):
            self._language = LanguageCode(language)
            if self._events:
                self._events.language = self._language

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Push audio to be recognized; it leaves at once, without a turn of the event loop."""
        super().push_frame(frame)
        self._hand_in()

    def flush(self) -> None:
        """Mark the end of the current segment."""
        super().flush()
        self._hand_in()

    def end_input(self) -> None:
        """Mark the end of input, no more audio will be pushed."""
        super().end_input()
        self._ended.set()

    async def aclose(self) -> None:
        """Close at once; leaves no task and no socket, and counts the audio to the last."""
        self._input_ch.close()
        await aio.cancel_and_wait(self._task)
        await self._forgo()
        # It ends by itself when it has seen the last usage event.
        await asyncio.wait([self._metrics_task], timeout=_CLOSE_SECONDS)
        await super().aclose()

    async def _run(self) -> None:
        frame = await self._first_frame()
        if frame is None:
            await self._forgo()
            return
        client = await self._connections.lend(frame.sample_rate)
        self._awaited = False
        self._begin(client, frame)
        finishing = asyncio.create_task(self._finish(client), name="ink_finish")
        try:
            self._take(client, frame)
            self._client = client
            self._hand_in()
            client.hand_to(self._deliver)
            async for _ in client:
                pass  # Events are handed over; what comes here is the end.
        except RejectedError as refusal:
            raise _api_error(refusal) from refusal
        finally:
            self._client = None
            client.hand_to(None)
            await aio.cancel_and_wait(finishing)
            self._report_usage(client)
            is_speaking = self._events is not None and self._events.speaking
            reusable = not self._ended.is_set() and not is_speaking
            await self._connections.take_back(client, reusable=reusable)

    async def _first_frame(self) -> rtc.AudioFrame | None:
        """The frame that tells the sample rate; None when the input ends without any."""
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                return item
        return None

    async def _forgo(self) -> None:
        """Say that no connection is needed, if none was taken."""
        if self._awaited:
            self._awaited = False
            await self._connections.forgo()

    def _begin(self, client: Client, frame: rtc.AudioFrame) -> None:
        """Anchor times at the first audio and tell whether it had to wait for a connection."""
        epoch = time.time() - frame.duration - self.start_time_offset
        if isinstance(client, InkManualClient):
            self._events = ManualSpeechEvents(
                language=self._language, offset=self.start_time_offset, epoch=epoch
            )
        else:
            self._events = SpeechEvents(
                language=self._language, keep_min_delay=self._keep_min_delay, epoch=epoch
            )
        self._reported = _seconds_sent(client)
        if client.is_connected:
            self._report_connection_acquired(0.0, True)
        else:
            self._dialling_since = time.perf_counter()

    async def _finish(self, client: Client) -> None:
        """When the input ends, ask for the last words; closing the stream asks for none."""
        await self._ended.wait()
        await client.finish()

    def _hand_in(self) -> None:
        """Give the client what was pushed; what is sent when is the client's business."""
        while self._client is not None and not self._input_ch.empty():
            self._take(self._client, self._input_ch.recv_nowait())

    def _take(self, client: Client, item: object) -> None:
        try:
            if isinstance(item, rtc.AudioFrame):
                self._hear(client, item)
            elif isinstance(client, InkManualClient):
                # The turns endpoint decides by itself when speech is over.
                client.request_final()
        except ClosedError:
            pass  # It was refused, which the iteration over its events is about to tell.

    def _hear(self, client: Client, frame: rtc.AudioFrame) -> None:
        pcm = downmix(frame.data.tobytes(), frame.num_channels)
        if self._encoding is not Encoding.PCM_S16LE:
            samples = AudioFormat(Encoding.PCM_S16LE, frame.sample_rate).decode(pcm)
            pcm = AudioFormat(self._encoding, frame.sample_rate).encode(samples)
        client.send_audio(pcm)
        self._unreported += frame.duration
        if self._unreported >= USAGE_SECONDS:
            self._report_usage(client)

    def _deliver(self, event: Event | ManualEvent) -> None:
        match event:
            case Connected():
                if self._dialling_since is not None:
                    waited = time.perf_counter() - self._dialling_since
                    self._dialling_since = None
                    self._report_connection_acquired(waited, False)
            case Disconnected(reason=reason, code=code, retry_in=retry_in):
                self._dialling_since = time.perf_counter()
                # That an idle connection is closed is normal: the next audio dials.
                if retry_in is not None and code != _IDLE_CLOSE:
                    self._emit_error(APIConnectionError(reason), recoverable=True)
            case ConnectFailed(reason=reason):
                self._emit_error(APIConnectionError(reason), recoverable=True)
            case AudioGap() if self._client is not None and self._client.rejection is not None:
                pass  # The refusal says it all.
            case AudioGap(seconds=seconds):
                lost = APIConnectionError(f"{seconds:.2f} s of audio could not be transcribed")
                self._emit_error(lost, recoverable=True)
            case ErrorMessage():
                self._emit_error(_status_error(event), recoverable=True)
            case SettingsRejected(error=error):
                if isinstance(self._client, InkTurnsClient):
                    self._connections.restore(self._client.options.turn)
                self._emit_error(_status_error(error), recoverable=True)
            case Interim() | Final():
                assert isinstance(self._events, ManualSpeechEvents)
                self._send(self._events.of(event))
            case _:
                assert isinstance(self._events, SpeechEvents)
                self._send(self._events.of(event))

    def _send(self, events: list[stt.SpeechEvent]) -> None:
        for event in events:
            self._event_ch.send_nowait(event)

    def _report_usage(self, client: Client) -> None:
        """Tell how much audio really left since the last report."""
        self._unreported = 0.0
        sent = _seconds_sent(client)
        seconds = sent - self._reported
        if seconds <= 0 or self._event_ch.closed:
            return
        self._reported = sent
        usage = stt.SpeechEvent(
            type=stt.SpeechEventType.RECOGNITION_USAGE,
            request_id=client.request_id or "",
            recognition_usage=stt.RecognitionUsage(audio_duration=seconds),
        )
        self._event_ch.send_nowait(usage)


def _seconds_sent(client: Client) -> float:
    """All audio that left, which is what the service counts."""
    snapshot = client.snapshot()
    return snapshot.sent + snapshot.replayed + snapshot.silence


def _status_error(error: ErrorMessage) -> APIStatusError:
    return APIStatusError(error.message, status_code=error.status, request_id=error.request_id)


def _api_error(refusal: RejectedError) -> APIError:
    """What LiveKit and its FallbackAdapter understand as: do not try this again."""
    logger.error("refused by Cartesia (status %s, code %s)", refusal.status, refusal.code)
    if refusal.status is None:
        return APIError(str(refusal), retryable=False)
    return APIStatusError(
        str(refusal),
        status_code=refusal.status,
        request_id=refusal.request_id,
        retryable=False,
    )
