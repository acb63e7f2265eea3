"""The `stt` span of Pipecat, of each of our services."""

from __future__ import annotations

from typing import Any

from pipecat.frames.frames import Frame, TranscriptionFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.tracing.service_decorators import traced_stt

# As OpenTelemetry's registry of `gen_ai.provider.name` writes names of companies.
PROVIDER = "cartesia"


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
            span.set_attribute("gen_ai.provider.name", PROVIDER)
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
