"""What an AgentSession does in a call, reported to the taps of its client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.metrics import LLMMetrics, TTSMetrics
from livekit.agents.voice.events import AgentStateChangedEvent, SpeechCreatedEvent

from cartesia_ink_plugins.core.audio import downmix
from cartesia_ink_plugins.core.tap import BotAudio, MomentKind
from cartesia_ink_plugins.livekit.agent_models import AgentModels


class Report(Protocol):
    """Tells the taps of a client; as `InkTurnsClient.report`."""

    def __call__(  # noqa: D102
        self, kind: MomentKind, payload: object = None, at: float | None = None
    ) -> None: ...


class CallReports:
    """Watches a session, with the LLM and the voice of its agent."""

    def __init__(
        self, session: AgentSession[Any], models: AgentModels, report: Report, *, audio: bool
    ) -> None:
        """Begin to watch.

        Args:
            session: What is watched.
            models: Those of its agent.
            report: Tells the taps.
            audio: Whether they want to hear the agent.
        """
        self._session = session
        self._report = report
        self._spoken: object = None
        self._undo: list[Callable[[], object]] = []
        self._watch(session, "agent_state_changed", self._state_changed)
        self._watch(session, "speech_created", self._speech_created)
        models.listeners.append(self._measured)
        if audio and session.output.audio is not None:
            self._listen(session.output.audio)

    def close(self) -> None:
        """Watch nothing more."""
        for undo in self._undo:
            undo()
        self._undo.clear()

    def _watch(self, emitter: Any, event: str, callback: Callable[..., None]) -> None:
        emitter.on(event, callback)
        self._undo.append(partial(emitter.off, event, callback))

    def _state_changed(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._spoken = self._session.current_speech
            self._report(MomentKind.BOT_STARTED)
        elif event.old_state == "speaking":
            self._report(MomentKind.BOT_STOPPED)

    def _speech_created(self, event: SpeechCreatedEvent) -> None:
        event.speech_handle.add_done_callback(self._speech_done)

    def _speech_done(self, handle: Any) -> None:
        # The end of a session interrupts, too; and a speech may end after `close`.
        is_user = self._session.user_state == "speaking"
        if self._undo and handle.interrupted and handle is self._spoken and is_user:
            self._report(MomentKind.INTERRUPTION)

    def _measured(self, metrics: object) -> None:
        """An LLM or a voice has finished, and says when it had begun."""
        match metrics:
            case LLMMetrics(ttft=first):
                began = self._began(metrics)
                self._report(MomentKind.LLM_STARTED, None, began)
                if first >= 0:
                    self._report(MomentKind.LLM_OUTPUT, None, began + first)
            case TTSMetrics(ttfb=first) if first >= 0:
                self._report(MomentKind.TTS_OUTPUT, None, self._began(metrics) + first)

    @staticmethod
    def _began(metrics: LLMMetrics | TTSMetrics) -> float:
        """When, on the clock of the event loop."""
        ago = time.time() - metrics.timestamp + metrics.duration
        return asyncio.get_running_loop().time() - ago

    def _listen(self, output: Any) -> None:
        """Hear what is given to the session's output, which has no event for it."""
        capture = output.capture_frame

        async def capture_and_report(frame: rtc.AudioFrame) -> None:
            pcm = downmix(frame.data.tobytes(), frame.num_channels)
            self._report(MomentKind.BOT_AUDIO, BotAudio(pcm, frame.sample_rate))
            await capture(frame)

        output.capture_frame = capture_and_report
        self._undo.append(lambda: output.__dict__.pop("capture_frame", None))
