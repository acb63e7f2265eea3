"""Sends the events of a pipeline to the page in the browser.

Each event is an RTVI server message with the data `{"kind": ..., "at": seconds, ...}`, `at` on the
pipeline's clock. The page builds its timeline and its history from these alone.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    ErrorFrame,
    Frame,
    FunctionCallResultFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    MetricsFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.observers.user_bot_latency_observer import UserBotLatencyObserver
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi import RTVIProcessor
from pipecat.services.llm_service import LLMService
from pipecat.services.stt_service import STTService
from pipecat.transports.base_output import BaseOutputTransport

from cartesia_ink_plugins.pipecat.latency import TurnLatencyMetricsData
from cartesia_ink_plugins.pipecat.speculation import SpeculationMetricsData

PageEvent: TypeAlias = dict[str, Any]


class PageReporter(BaseObserver):
    """Reports turn events, replies and latencies to the page.

    The latency of the bot's voice is that of Pipecat's own observer.

    Example::

        worker.add_observer(PageReporter(worker.rtvi))
    """

    def __init__(self, rtvi: RTVIProcessor) -> None:
        """Report to a page.

        Args:
            rtvi: The worker's RTVI processor, which sends on the data channel.
        """
        super().__init__()
        self._rtvi = rtvi
        self._final = ""
        self._last_error = -1
        self._latency = UserBotLatencyObserver()
        self._latency.add_event_handler("on_latency_measured", self._report_latency)

    def follow(self, stt: STTService) -> None:
        """Also report when the connection to Ink is lost and restored.

        Args:
            stt: A service with the events `on_connected` and `on_disconnected`.
        """
        lost = False

        async def on_disconnected(service: STTService) -> None:
            nonlocal lost
            lost = True
            await self._rtvi.send_server_message({"kind": "ink.lost"})

        async def on_connected(service: STTService) -> None:
            nonlocal lost
            # The first connection is made before the page is connected.
            if lost:
                lost = False
                await self._rtvi.send_server_message({"kind": "ink.back"})

        stt.add_event_handler("on_disconnected", on_disconnected)
        stt.add_event_handler("on_connected", on_connected)

    async def on_push_frame(self, data: FramePushed) -> None:
        """Handle a frame between two processors.

        Args:
            data: The frame and the processors.
        """
        at = round(data.timestamp / 1e9, 3)
        for event in self._describe(data):
            await self._rtvi.send_server_message({**event, "at": at})
        if getattr(data, "first_push", True):  # Pipecat 1.14; before, the observer looks itself
            await self._latency.on_push_frame(data)

    async def cleanup(self) -> None:
        """End the latency observer, too."""
        await self._latency.cleanup()  # type: ignore[no-untyped-call]
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def _report_latency(self, _: UserBotLatencyObserver, seconds: float) -> None:
        await self._rtvi.send_server_message(
            {"kind": "latency", "stage": "voice", "seconds": round(seconds, 3)}
        )

    def _describe(self, data: FramePushed) -> list[PageEvent]:
        """Return the events of a frame, which counts at only one place of the pipeline."""
        frame = data.frame
        if isinstance(frame, ErrorFrame) and frame.id != self._last_error:
            self._last_error = frame.id
            return [{"kind": "error", "text": frame.error}]
        if data.direction is not FrameDirection.DOWNSTREAM:
            return []
        if isinstance(data.source, STTService):
            return self._of_stt(frame)
        if isinstance(data.source, BaseOutputTransport):
            return _of_voice(frame)
        if isinstance(frame, FunctionCallResultFrame) and isinstance(data.source, LLMService):
            # The arguments of a function call may be any objects.
            arguments = {name: str(value) for name, value in dict(frame.arguments).items()}
            return [{"kind": "call", "name": frame.function_name, "arguments": arguments}]
        if isinstance(frame, LLMContextFrame) and isinstance(data.destination, LLMService):
            return [{"kind": "reply.begun", "early": frame.speculation}]
        if isinstance(frame, InterruptionFrame) and isinstance(
            data.destination, BaseOutputTransport
        ):
            return [{"kind": "interruption"}]
        return []

    def _of_stt(self, frame: Frame) -> list[PageEvent]:
        match frame:
            case ProposedUserStartedSpeakingFrame():
                self._final = ""
                return [{"kind": "turn.start"}]
            case EagerTranscriptionFrame():
                return [{"kind": "turn.eager_end", "text": frame.text}]
            case InterimTranscriptionFrame():
                return [{"kind": "turn.update", "text": frame.text}]
            case EagerEndOfTurnCancelFrame():
                return [{"kind": "turn.resume"}]
            case TranscriptionFrame():
                self._final = frame.text
            case ProposedUserStoppedSpeakingFrame():
                return [{"kind": "turn.end", "text": self._final}]
            case MetricsFrame():
                return _of_metrics(frame)
        return []


def _of_voice(frame: Frame) -> list[PageEvent]:
    match frame:
        case BotStartedSpeakingFrame():
            return [{"kind": "bot.start"}]
        case BotStoppedSpeakingFrame():
            return [{"kind": "bot.stop"}]
        case TTSTextFrame():
            return [
                {
                    "kind": "bot.text",
                    "text": frame.text,
                    "joined": frame.includes_inter_frame_spaces,
                }
            ]
    return []


def _of_metrics(frame: MetricsFrame) -> list[PageEvent]:
    events: list[PageEvent] = []
    for data in frame.data:
        match data:
            case TurnLatencyMetricsData(stage=stage, value=value):
                events.append({"kind": "latency", "stage": stage, "seconds": round(value, 3)})
            case SpeculationMetricsData(outcome=outcome, lead=lead):
                events.append({"kind": "speculation", "outcome": outcome, "lead": round(lead, 3)})
    return events
