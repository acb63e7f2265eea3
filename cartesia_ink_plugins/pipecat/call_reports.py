"""What a pipeline does in a call, reported to the taps of its client."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.services.tts_service import TTSService

from cartesia_ink_plugins.core.audio import downmix
from cartesia_ink_plugins.core.tap import BotAudio, MomentKind
from cartesia_ink_plugins.pipecat.llm_observer import all_processors


class CallReports:
    """Watches the LLM and TTS services of a pipeline, and what passes through the STT service."""

    def __init__(self, report: Callable[[MomentKind, object], None]) -> None:
        """See nothing before `attach`.

        Args:
            report: Tells the taps.
        """
        self._report = report
        self._watched: list[FrameProcessor] = []
        self._is_speaking = self._reports_audio = False
        # Services from which the first output of a reply is still to come.
        self._awaited: set[FrameProcessor] = set()

    def attach(self, pipeline: FrameProcessor, *, audio: bool) -> None:
        """Watch the services of a pipeline.

        Args:
            pipeline: Whose services.
            audio: Whether to report each frame of what the bot says, too.
        """
        self.detach()
        self._reports_audio = audio
        for processor in all_processors(pipeline):
            match processor:
                case LLMService():
                    processor.add_event_handler("on_before_process_frame", self._before_llm)
                    processor.add_event_handler("on_before_push_frame", self._after_llm)
                case TTSService():
                    processor.add_event_handler("on_before_push_frame", self._after_tts)
                case _:
                    continue
            self._watched.append(processor)

    def detach(self) -> None:
        """Watch nothing more."""
        for processor in self._watched:
            if isinstance(processor, LLMService):
                processor.remove_event_handler("on_before_process_frame", self._before_llm)
                processor.remove_event_handler("on_before_push_frame", self._after_llm)
            else:
                processor.remove_event_handler("on_before_push_frame", self._after_tts)
        self._watched = []
        self._awaited.clear()

    def passed(self, frame: Frame) -> None:
        """A frame passes through the STT service."""
        match frame:
            case BotStartedSpeakingFrame():
                self._is_speaking = True
                self._report(MomentKind.BOT_STARTED, None)
            case BotStoppedSpeakingFrame():
                self._is_speaking = False
                self._report(MomentKind.BOT_STOPPED, None)
            case InterruptionFrame() if self._is_speaking:
                self._report(MomentKind.INTERRUPTION, None)

    async def _before_llm(self, llm: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMContextFrame):
            self._awaited.add(llm)
            self._report(MomentKind.LLM_STARTED, None)

    async def _after_llm(self, llm: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMTextFrame) and llm in self._awaited:
            self._awaited.discard(llm)
            self._report(MomentKind.LLM_OUTPUT, None)

    async def _after_tts(self, tts: FrameProcessor, frame: Frame) -> None:
        match frame:
            case TTSStartedFrame():
                self._awaited.add(tts)
            case TTSAudioRawFrame(audio=audio, sample_rate=rate, num_channels=channels):
                if tts in self._awaited:
                    self._awaited.discard(tts)
                    self._report(MomentKind.TTS_OUTPUT, None)
                if self._reports_audio:
                    self._report(MomentKind.BOT_AUDIO, BotAudio(downmix(audio, channels), rate))
