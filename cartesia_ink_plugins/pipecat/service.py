"""What the two streaming services have in common: a client that lives as long as the pipeline."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    StartFrame,
    STTMuteFrame,
    UserAudioRawFrame,
)
from pipecat.metrics.metrics import STTUsage
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.tap import MomentKind
from cartesia_ink_plugins.core.validation import insecure_allowed
from cartesia_ink_plugins.observe.call import Call
from cartesia_ink_plugins.observe.options import Record
from cartesia_ink_plugins.observe.stats import Stats, StatsGroup
from cartesia_ink_plugins.pipecat.call_reports import CallReports
from cartesia_ink_plugins.pipecat.managed_client import Client, ManagedClient
from cartesia_ink_plugins.pipecat.reuse import begin_anew
from cartesia_ink_plugins.pipecat.tracing import PipelineTracing, TracedSTTService

# Of the built-in classes; here the session does what they are for.
_WITHOUT_MEANING = (
    "keepalive_interval",
    "keepalive_timeout",
    "reconnect_backoff_max_wait",
    "reconnect_backoff_min_wait",
    "reconnect_on_error",
    "watchdog_min_timeout",
    "ws_close_timeout",
    "ws_send_timeout",
)
# Seconds between two looks at whether the pipeline was cancelled while it ends.
_LOOK_EVERY = 0.05


class InkStreamingSTTService(TracedSTTService):
    """Base of the services that keep a connection; what they make of the events is theirs."""

    _session: ManagedClient[Any]

    def __init__(
        self,
        *,
        api_key: str | None,
        credentials: Credentials | None,
        url: str | None,
        encoding: str,
        extra_headers: Mapping[str, str] | None,
        allow_insecure: bool | None,
        drain_timeout: float,
        resilience: Resilience | None,
        record: Record | None,
        **kwargs: Any,
    ) -> None:
        """Set up what does not depend on the endpoint; the arguments are those of the services.

        Raises:
            UsageError: There are no credentials, or two; or `record` is wrong.
        """
        for name in _WITHOUT_MEANING:
            if kwargs.pop(name, None) is not None:
                logger.warning(f"{type(self).__name__}: `{name}` has no meaning here, ignored")
        if api_key and credentials:
            raise UsageError("credentials: give either api_key or credentials")
        super().__init__(**kwargs)
        if credentials is None and api_key:
            credentials = Credentials(api_key=api_key)
        self._credentials = credentials or Credentials.from_environment()
        self._url = url
        self._encoding = encoding
        self._extra_headers = dict(extra_headers or {})
        self._allow_insecure = insecure_allowed(allow_insecure)
        self._drain_timeout = drain_timeout
        self._resilience = resilience
        self._ending = False
        self._stats = StatsGroup()
        self._record = record
        self._call = Call(record)
        self._reports = CallReports(self.report)
        self._register_event_handler("on_audio_gap")

    @property
    def recording(self) -> Path | None:
        """Where the present or last call is recorded; None where it is not."""
        return self._call.recording

    @property
    def model(self) -> str | None:
        """The model, as metrics name it."""
        return self._settings.model if isinstance(self._settings.model, str) else None

    @abstractmethod
    def _make_session(self) -> ManagedClient[Any]:
        """Make what holds the client, once for each pipeline."""

    @abstractmethod
    def _make_client(self, sample_rate: int) -> Client:
        """Make a client for audio of a rate in Hz."""

    def _connection_options(self, sample_rate: int) -> dict[str, Any]:
        """What a connection is opened with on either endpoint, for audio of a rate in Hz."""
        options = {
            "encoding": self._encoding,
            "sample_rate": sample_rate,
            "extra_headers": self._extra_headers,
            "allow_insecure": self._allow_insecure,
        }
        return options | ({"base_url": self._url} if self._url else {})

    def stats(self) -> Stats:
        """Return the numbers of this service so far, over all its sessions."""
        return self._stats.stats()

    def report(self, kind: MomentKind, payload: object = None) -> None:
        """Tell the taps of the session what the framework did; see `MomentKind`."""
        self._session.report(kind, payload)

    # -- lifecycle --------------------------------------------------------------------------------

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Begin to connect, and return at once.

        A service may be set up again, in another pipeline, when the former one has ended or was
        cancelled.

        Args:
            setup: The pipeline's configuration.
        """
        await super().setup(setup)
        await begin_anew(self)
        self._ending = False
        self._call = Call(self._record)
        self._session = self._make_session()
        self._session.tracing = PipelineTracing(setup)
        self._session.open(self.sample_rate)

    async def start(self, frame: StartFrame) -> None:
        """Watch the services of the pipeline, which is complete now.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        pipeline = self.pipeline_worker.pipeline
        self._reports.attach(pipeline, audio=self._call.records_audio)

    async def stop(self, frame: EndFrame) -> None:
        """Deliver the last words, then end; no longer than the drain timeout.

        Args:
            frame: The end frame.
        """
        self._ending = True
        finishing = self.create_task(self._finish(self._drain_timeout), "finish")
        try:
            while not finishing.done() and not self._is_cancelled:
                await asyncio.wait([finishing], timeout=_LOOK_EVERY)
        finally:
            await self.cancel_task(finishing)
        await self._end()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """End at once.

        Args:
            frame: The cancel frame.
        """
        await self._end()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """End, if no frame did it."""
        await self._end()
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def set_usable(self, is_usable: bool) -> None:
        """Set whether the service can be given work; begin a new session after a rejection.

        Args:
            is_usable: Whether it can.
        """
        await super().set_usable(is_usable)
        if is_usable and self._session.is_rejected and not self._ending:
            await self._session.reopen()

    @property
    def _is_cancelled(self) -> bool:
        """Whether the pipeline was cancelled.

        The worker keeps the CancelFrame until the EndFrame has reached the end of the pipeline, so
        there is no frame that tells.
        """
        return bool(getattr(self.pipeline_worker, "_cancelled", False))

    async def _finish(self, timeout: float) -> None:
        """Push the last words, for no longer than a timeout in seconds."""
        await self._session.finish(timeout)

    async def _end(self) -> None:
        """Leave no task and no connection; the only way out, and safe to take twice."""
        self._ending = True
        self._reports.detach()
        await self._session.close()
        await self._call.aclose()

    # -- audio ------------------------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle a frame; a muted service says that no audio follows, so that a turn can end.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        self._reports.passed(frame)
        if isinstance(frame, STTMuteFrame) and frame.mute:
            self._session.audio_stopped()

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        """Hand a frame to the session, which never keeps it waiting.

        Args:
            frame: 16-bit audio of any rate and number of channels.
            direction: Where the frame goes.
        """
        if self.is_muted or self._ending or not self.is_usable or not frame.audio:
            return
        self._user_id = frame.user_id if isinstance(frame, UserAudioRawFrame) else ""
        self._session.send(frame)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Hand 16-bit mono audio to the session; the transcripts come on their own.

        Args:
            audio: 16-bit mono audio of the service's sample rate.

        Yields:
            None, once.
        """
        frame = InputAudioRawFrame(audio=audio, sample_rate=self.sample_rate, num_channels=1)
        await self.process_audio_frame(frame, FrameDirection.DOWNSTREAM)
        yield None

    # -- metrics ----------------------------------------------------------------------------------

    def can_generate_metrics(self) -> bool:
        """Usage and latency metrics are generated."""
        return True

    async def emit_stt_usage_metrics(self) -> None:
        """Report the seconds of audio that were sent since the last report."""
        if seconds := self._session.take_usage():
            await self.start_stt_usage_metrics(STTUsage(audio_seconds=seconds))
