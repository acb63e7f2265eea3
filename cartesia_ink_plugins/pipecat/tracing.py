"""Pipecat's traces: the `stt` span of our services, and where spans of a session belong."""

from __future__ import annotations

from typing import Any

from pipecat.frames.frames import Frame, TranscriptionFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.tracing.service_decorators import traced_stt

from cartesia_ink_plugins.observe.telemetry import names


class PipelineTracing:
    """How a pipeline traces; a `Tracing` for the clients in it."""

    def __init__(self, setup: FrameProcessorSetup) -> None:
        """Look at a pipeline.

        Args:
            setup: Of a processor in it.
        """
        self._context = setup.tracing_context

    def turn_context(self) -> object | None:
        """Return the context of the turn that is open, or else of the conversation."""
        if self._context is None:
            return None
        return self._context.get_turn_context() or self._context.get_conversation_context()

    def tracer(self) -> None:
        """Pipecat makes its spans with the tracer of the process."""

    def attributes(self) -> dict[str, str]:
        """Return the id of the conversation."""
        conversation = self._context.conversation_id if self._context else None
        return {"conversation.id": conversation} if conversation else {}


class TracedSTTService(STTService):
    """Names the provider in the spans that Pipecat's decorator makes.

    The decorator derives it from the name of the class, which for ours is not the provider's.
    """

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; the decorator has opened the span of a transcription right before.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        if isinstance(frame, TranscriptionFrame) and (span := self._span_state().get("span")):
            span.set_attribute(names.PROVIDER_NAME, names.PROVIDER)
        await super().push_frame(frame, direction)

    def span_begins(self, at: float) -> None:
        """Say when the speech of the next transcription began, in seconds since 1970."""
        state = self._span_state()
        if state.get("span") is None and "segment_start_time" in state:
            state["segment_start_time"] = at

    def _span_state(self) -> dict[str, Any]:
        """What the decorator keeps on the service; it has no accessor for it."""
        return getattr(self, "_stt_span_state", None) or {}

    @traced_stt
    async def _handle_transcription(
        self, transcript: str, is_final: bool, language: Language | None
    ) -> None:
        """Mark a transcription for tracing."""
