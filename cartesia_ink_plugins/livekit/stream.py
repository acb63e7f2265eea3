"""One stream of recognition: audio frames of a room in, speech events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, LanguageCode, stt
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import aio, is_given

from cartesia_ink_plugins.core.audio import FrameConverter
from cartesia_ink_plugins.core.errors import ClosedError, RejectedError
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    ConnectFailed,
    Disconnected,
    ErrorMessage,
    Event,
    EventsDropped,
    Final,
    Interim,
    ManualEvent,
    SettingsRejected,
    Unreachable,
)
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.stats import UsageMeter
from cartesia_ink_plugins.livekit import errors, handover
from cartesia_ink_plugins.livekit.client_pool import Client, ClientPool
from cartesia_ink_plugins.livekit.handover import Handover, Item
from cartesia_ink_plugins.livekit.log import logger
from cartesia_ink_plugins.livekit.manual_events import ManualSpeechEvents
from cartesia_ink_plugins.livekit.metrics import report_connection
from cartesia_ink_plugins.livekit.pauses import PauseDetector
from cartesia_ink_plugins.livekit.retries import RetryBudget
from cartesia_ink_plugins.livekit.session_watch import SessionWatch
from cartesia_ink_plugins.livekit.speech_events import SpeechEvents
from cartesia_ink_plugins.observe.stats import Stats, StatsTap

USAGE_SECONDS = 5.0  # of audio; as often as LiveKit's own plugins report usage
_CLOSE_TIMEOUT = 1.0  # seconds; the metrics task ends as soon as it has seen the last event
_IDLE_CLOSE = 1001  # close code of a connection that had no audio for minutes


class InkRecognizeStream(stt.RecognizeStream):
    """Made by `STT.stream()`.

    The client reconnects and replays, so the base class has nothing to retry: an error leaves this
    stream when the service rejects it for good, or when its retries are used up.
    """

    def __init__(
        self,
        *,
        stt: stt.STT[Any],
        pool: ClientPool,
        conn_options: APIConnectOptions,
        retries: RetryBudget | None,
        sample_rate: NotGivenOr[int],
        language: LanguageCode,
        keep_min_delay: bool,
        flushes_itself: bool,
    ) -> None:
        """Wait for audio; see `STT` for the other arguments.

        Args:
            stt: Whose stream it is.
            pool: Where its client comes from.
            conn_options: For the base class.
            retries: How often connecting may fail; None for any number.
            sample_rate: As of `STT`.
            language: As of `STT`.
            keep_min_delay: As of `STT`.
            flushes_itself: Whether a pause ends a segment, because nobody else tells its end.
        """
        super().__init__(stt=stt, conn_options=conn_options, sample_rate=sample_rate)
        self._pool = pool
        self._retries = retries
        self._converter: FrameConverter | None = None
        self._language = language
        self._keep_min_delay = keep_min_delay
        self._flushes_itself = flushes_itself
        self._client: Client | None = None
        self._last_client: Client | None = None
        self._events: SpeechEvents | ManualSpeechEvents | None = None
        self._pauses: PauseDetector | None = None
        self._final: asyncio.Future[Final] | None = None
        self._inherited = handover.take(stt)
        self._unsent: list[Item] = []
        self._handover: Handover | None = None
        self._ended = asyncio.Event()
        self._failure: asyncio.Future[APIError] = asyncio.get_running_loop().create_future()
        self._is_expected = True
        self._connecting_since: float | None = None
        self._unreported = 0.0
        self._usage = UsageMeter()
        pool.expect()

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

    def stats(self) -> Stats:
        """Return the numbers of this stream's session with the server so far.

        A stream that takes the place of another one in mid-call takes over its session, too.
        """
        return self._last_client.stats() if self._last_client else StatsTap().stats()

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Push audio to be recognized; it leaves at once, without a turn of the event loop."""
        if not self._keep_for_next(frame):
            super().push_frame(frame)
            self._send_pushed()

    def flush(self) -> None:
        """Mark the end of the current segment."""
        if not self._keep_for_next(self._FlushSentinel()):
            super().flush()
            self._send_pushed()

    def end_input(self) -> None:
        """Mark the end of input, no more audio will be pushed."""
        super().end_input()
        self._ended.set()

    async def aclose(self) -> None:
        """Close at once; leaves no task and no socket, and counts the audio to the last."""
        self._input_ch.close()
        await aio.cancel_and_wait(self._task)
        await self._cancel()
        # It ends by itself when it has seen the last usage event.
        await asyncio.wait([self._metrics_task], timeout=_CLOSE_TIMEOUT)
        await super().aclose()

    async def __anext__(self) -> stt.SpeechEvent:
        """The next event; who is told of a failure can open the stream that goes on from here."""
        try:
            return await super().__anext__()
        except APIError:
            if self._handover:
                handover.offer(self._handover)
            raise

    async def _run(self) -> None:
        first = await self._first_items()
        frames = [item for item in first if isinstance(item, rtc.AudioFrame)]
        if not frames:
            await self._cancel()
            return
        client = await self._pool.acquire(frames[0].sample_rate)
        self._is_expected = False
        self._begin(client, sum(frame.duration for frame in frames))
        watch = SessionWatch(self._stt, client, self._pool)
        finishing = asyncio.create_task(self._finish(client), name="ink_finish")
        try:
            for item in first:
                self._send_item(client, item)
            self._client = self._last_client = client
            self._send_pushed()
            client.on_event = self._handle
            await self._until_over(client)
        except RejectedError as refusal:
            if not client.snapshot().connections:
                self._keep_unrecognized(client)
            raise errors.rejection(refusal) from refusal
        finally:
            self._client = None
            if self._pauses is not None:
                self._pauses.close()
            client.on_event = None
            watch.close()
            await aio.cancel_and_wait(finishing)
            self._report_usage(client)
            is_speaking = self._events is not None and self._events.speaking
            reusable = not (self._ended.is_set() or self._failure.done() or is_speaking)
            await self._pool.release(client, reusable=reusable)

    async def _first_items(self) -> Sequence[Item]:
        """The audio that tells the sample rate, and what belongs to it; none if none comes."""
        if self._inherited is not None:
            return self._inherited.at_rate(self._needed_sr or self._inherited.room_rate)
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                return [item]
        return []

    async def _cancel(self) -> None:
        """Say that no connection is needed, if none was taken."""
        if self._is_expected:
            self._is_expected = False
            await self._pool.cancel()

    def _begin(self, client: Client, seconds: float) -> None:
        """Anchor times at the first audio and tell whether it had to wait for a connection.

        Args:
            client: The client.
            seconds: How much audio there is, which ended now.
        """
        # Audio of a former stream lies before the time at which this one was opened.
        offset = self.start_time_offset - (seconds if self._inherited is not None else 0.0)
        epoch = time.time() - seconds - offset
        if isinstance(client, InkManualClient):
            self._events = ManualSpeechEvents(language=self._language, offset=offset, epoch=epoch)
        else:
            self._events = SpeechEvents(
                language=self._language,
                keep_min_delay=self._keep_min_delay,
                epoch=epoch,
                should_speculate=self._pool.speculations.should_speculate,
            )
        if self._flushes_itself:
            flush = partial(self._send_item, client, self._FlushSentinel())
            self._pauses = PauseDetector(client.options.format, flush)
        self._usage.take(client.snapshot())
        if client.is_connected:
            report_connection(self._stt, client.request_id, 0.0, is_reused=True)
        else:
            self._connecting_since = time.perf_counter()
        timeout = self._retries.connect_timeout if self._retries else None
        client.set_reconnect_policy(self._retries, timeout)

    async def _until_over(self, client: Client) -> None:
        """Wait for the end of the client's events.

        Raises:
            APIError: The retries were used up before it.
            RejectedError: The service rejects the session for good.
        """
        over = asyncio.create_task(_exhaust(client), name="ink_events")
        try:
            ends: list[asyncio.Future[Any]] = [over, self._failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                raise self._failure.result()
            await over
        finally:
            await aio.cancel_and_wait(over)

    async def _finish(self, client: Client) -> None:
        """When the input ends, ask for the last words; closing the stream asks for none."""
        await self._ended.wait()
        await client.finish()

    # --- audio --------------------------------------------------------------------------------

    def _send_pushed(self) -> None:
        """Give the client what was pushed; what is sent when is the client's business."""
        while self._client is not None and not self._input_ch.empty():
            self._send_item(self._client, self._input_ch.recv_nowait())

    def _send_item(self, client: Client, item: Item) -> None:
        try:
            if isinstance(item, rtc.AudioFrame):
                self._send_frame(client, item)
            elif isinstance(client, InkManualClient):
                # The turns endpoint decides by itself when speech is over.
                self._final = client.request_final()
        except ClosedError:
            # The session is over, which the end of its events is about to tell.
            self._unsent.append(item)

    def _send_frame(self, client: Client, frame: rtc.AudioFrame) -> None:
        if self._converter is None:
            self._converter = FrameConverter(client.options.format)
        pcm = self._converter.encode(frame.data.tobytes(), frame.num_channels)
        client.send_audio(pcm)
        if self._pauses is not None:
            self._pauses.add(pcm)
        self._unreported += frame.duration
        if self._unreported >= USAGE_SECONDS:
            self._report_usage(client)

    # --- events -------------------------------------------------------------------------------

    def _handle(self, event: Event | ManualEvent) -> None:
        match event:
            case Connected(request_id=request_id):
                if self._connecting_since is not None:
                    waited = time.perf_counter() - self._connecting_since
                    self._connecting_since = None
                    report_connection(self._stt, request_id, waited, is_reused=False)
            case Disconnected(reason=reason, code=code, retry_in=retry_in):
                self._connecting_since = time.perf_counter()
                if self._retries is not None and self._retries.is_spent:
                    self._give_up(APIConnectionError(reason, retryable=False))
                # That an idle connection is closed is normal: the next audio reconnects.
                elif retry_in is not None and code != _IDLE_CLOSE:
                    self._emit_error(APIConnectionError(reason), recoverable=True)
            case ConnectFailed():
                if self._retries is not None and self._retries.is_spent:
                    self._give_up(errors.failed_attempt(event, retryable=False))
                else:
                    self._emit_error(errors.failed_attempt(event, retryable=True), recoverable=True)
            case Unreachable(reason=reason, check=check):
                self._emit_error(APIConnectionError(f"{reason}; check {check}"), recoverable=True)
            case AudioGap() if self._client is not None and self._client.rejection is not None:
                pass  # The rejection says it all.
            case AudioGap(seconds=seconds):
                lost = APIConnectionError(f"{seconds:.2f} s of audio could not be transcribed")
                self._emit_error(lost, recoverable=True)
            case ErrorMessage():
                self._emit_error(errors.error_message(event), recoverable=True)
            case SettingsRejected(error=error, turn=turn):
                self._pool.restore(turn)
                self._emit_error(errors.error_message(error), recoverable=True)
            case EventsDropped():
                pass  # Every event is read when it comes.
            case Interim() | Final():
                assert isinstance(self._events, ManualSpeechEvents)
                self._send_events(self._events.of(event))
            case _:
                assert isinstance(self._events, SpeechEvents)
                self._send_events(self._events.of(event))

    def _send_events(self, events: list[stt.SpeechEvent]) -> None:
        for event in events:
            self._event_ch.send_nowait(event)

    def _report_usage(self, client: Client) -> None:
        """Tell how much audio really left since the last report."""
        self._unreported = 0.0
        if self._event_ch.closed or (seconds := self._usage.take(client.snapshot())) <= 0:
            return
        usage = stt.SpeechEvent(
            type=stt.SpeechEventType.RECOGNITION_USAGE,
            request_id=client.request_id or "",
            recognition_usage=stt.RecognitionUsage(audio_duration=seconds),
        )
        self._event_ch.send_nowait(usage)

    # --- failure ------------------------------------------------------------------------------

    def _give_up(self, error: APIError) -> None:
        """End with an error; keep what is not recognized for the stream that comes next."""
        if self._failure.done() or self._client is None:
            return
        self._failure.set_result(error)
        text = self._keep_unrecognized(self._client)
        if self._events is not None:
            self._send_events(self._events.interrupted(text, self._client.request_id))
        self._client = None

    def _keep_unrecognized(self, client: Client) -> str:
        """Keep the audio for the next stream; return the text of the open turn before it."""
        rest, format = client.unrecognized(), client.options.format
        # A stream into which nothing was pushed has all its audio from the one before it.
        inherited = self._inherited
        kept = Handover(self._pushed_sr or (inherited.room_rate if inherited else 0))
        kept.add_pcm(FrameConverter(format).decode(rest.audio), format.sample_rate)
        final = self._final
        if final is not None and (not final.done() or final.exception() is not None):
            kept.add(self._FlushSentinel())
        for item in (*self._unsent, *handover.unsent(self._input_ch, self._resampler)):
            kept.add(item)
        self._handover = kept
        return rest.text

    def _keep_for_next(self, item: Item) -> bool:
        """Keep what is pushed after a failure, as long as the next stream has not taken over."""
        if self._handover is None or not self._handover.is_open:
            return False
        self._handover.add(item)
        return True


async def _exhaust(client: Client) -> None:
    """Wait for the end of a client's events, which are handed to the stream."""
    async for _ in client:
        pass
