"""When the user spoke, told in the frames from which Pipecat's observers measure latency.

`UserBotLatencyObserver`, `SpeakingObserver`, RTVI and the turn's span take the times of the user's
speech from the frames of a VAD. Where Ink detects the turns there is no VAD in the pipeline. The
session measures the same times in the audio itself, so it can stand in for one.
"""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

from pipecat.frames.frames import (
    Frame,
    SpeechControlParamsFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregator
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Timing
from cartesia_ink_plugins.pipecat.llm_observer import all_processors
from cartesia_ink_plugins.pipecat.tracing import TracedSTTService

SpeechFramesMode: TypeAlias = Literal["auto"] | bool


class SpeechFrames:
    """Reports the speech of one service's turns.

    Only a turn with text is reported: noise is not what the user waits for an answer to. A time
    that the audio does not tell is not reported.

    With `"auto"`, observers receive the frames and processors do not. Strategies, other services
    and the application's own processors then decide what they would decide without the frames.
    """

    def __init__(self, service: TracedSTTService, mode: SpeechFramesMode) -> None:
        """Report nothing before `setup`.

        Args:
            service: Where the frames come from.
            mode: `"auto"`: observers receive the frames, unless the pipeline has a VAD. True:
                every processor receives them, too, as from a VAD. False: nobody does.

        Raises:
            UsageError: The mode is none of these.
        """
        if mode not in ("auto", True, False):
            raise UsageError(f"speech_frames: {mode!r} is neither 'auto' nor True nor False")
        self._service = service
        self._mode = mode
        self._setup: FrameProcessorSetup | None = None
        self._has_vad = False
        self._is_started = False

    def setup(self, setup: FrameProcessorSetup) -> None:
        """A pipeline begins.

        Args:
            setup: Has the pipeline's observer and clock.
        """
        self._setup = setup
        self._has_vad = self._is_started = False

    def look_for_vad(self, pipeline: FrameProcessor) -> None:
        """Look for a VAD in a complete pipeline, also where its frames do not reach the service."""
        self._has_vad |= any(map(_is_vad, all_processors(pipeline)))

    def frame_received(self, frame: Frame) -> None:
        """Note that another processor detects speech.

        Every VAD controller announces its parameters when the pipeline starts.
        """
        match frame:
            case SpeechControlParamsFrame(vad_params=params):
                self._has_vad |= params is not None
            case VADUserStartedSpeakingFrame() | VADUserStoppedSpeakingFrame():
                self._has_vad = True

    def turn_started(self) -> None:
        """A turn begins; it has no text yet."""
        self._is_started = False

    async def text_arrived(self, timing: Timing | None) -> None:
        """Report the start of the speech, once it has become text that counts.

        Args:
            timing: Of the event with the text.
        """
        if self._is_started:
            return
        self._is_started = True
        if timing is not None and timing.speech_start is not None:
            now = time.time()
            await self._report(
                VADUserStartedSpeakingFrame,
                start_secs=max(0.0, now - timing.speech_start),
                timestamp=now,
            )

    async def turn_ended(self, timing: Timing | None, *, is_muted: bool) -> None:
        """Report the end of the speech of a turn with text, before its final text.

        Args:
            timing: Of the end of the turn.
            is_muted: Whether the user is muted; nobody is going to answer then.
        """
        if timing is None:
            return
        if timing.speech_start is not None:
            self._service.span_begins(timing.speech_start)
        if is_muted:
            return
        await self.text_arrived(timing)
        if timing.speech_end is not None:
            now = time.time()
            await self._report(
                VADUserStoppedSpeakingFrame,
                stop_secs=max(0.0, now - timing.speech_end),
                timestamp=now,
            )

    async def _report(self, kind: type[Frame], **fields: float) -> None:
        if self._mode is True:
            await self._service.broadcast_frame(kind, **fields)
        elif self._mode == "auto" and not self._has_vad:
            await self._tell_observers(kind(**fields))

    async def _tell_observers(self, frame: Frame) -> None:
        """Show a frame to the pipeline's observers as pushed, without delivering it."""
        setup = self._setup
        if setup is None or setup.observer is None:
            return
        pushed = FramePushed(
            source=self._service,
            destination=self._service.next or self._service,
            frame=frame,
            direction=FrameDirection.DOWNSTREAM,
            timestamp=setup.clock.get_time(),
        )
        await setup.observer.on_push_frame(pushed)


def _is_vad(processor: FrameProcessor) -> bool:
    """Whether a processor detects speech by a VAD of the framework."""
    if isinstance(processor, LLMUserAggregator):
        return processor._params.vad_analyzer is not None
    return isinstance(processor, VADProcessor)
