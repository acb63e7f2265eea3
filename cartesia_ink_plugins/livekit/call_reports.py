"""What an AgentSession does in a call, reported to the taps of its client.

LiveKit gives an STT no session. But the activity of a session listens to the events of its STT:
who listens is who uses it. Behind an adapter, which listens itself, nothing is reported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from livekit import rtc
from livekit.agents import AgentSession, stt
from livekit.agents.metrics import LLMMetrics, TTSMetrics
from livekit.agents.voice.events import AgentStateChangedEvent, SpeechCreatedEvent

from cartesia_ink_plugins.core.audio import downmix
from cartesia_ink_plugins.core.tap import BotAudio, MomentKind


class Report(Protocol):
    """Tells the taps of a client; as `InkTurnsClient.report`."""

    def __call__(  # noqa: D102
        self, kind: MomentKind, payload: object = None, at: float | None = None
    ) -> None: ...


class SessionSTT(stt.STT[Any]):
    """An STT that knows the session which uses it.

    Attributes:
        activity: Of the session: has `session`, `llm` and `tts`. None outside of a session.
    """

    activity: Any = None

    def on(self, event: Any, callback: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Register a callback, as of every LiveKit component."""
        owner = getattr(callback, "__self__", None)
        if isinstance(getattr(owner, "session", None), AgentSession):
            self.activity = owner
        return super().on(event, callback)

    def off(self, event: Any, callback: Callable[..., Any]) -> None:
        """Unregister a callback."""
        if self.activity is not None and getattr(callback, "__self__", None) is self.activity:
            self.activity = None
        super().off(event, callback)


class CallReports:
    """Watches the session of one stream, with its LLM and its voice."""

    def __init__(self, activity: Any) -> None:
        """Watch nothing before `attach`.

        Args:
            activity: Of the session; None for a stream without one.
        """
        self._activity = activity
        self._report: Report | None = None
        self._spoken: object = None
        self._undo: list[Callable[[], object]] = []

    @property
    def session(self) -> AgentSession[Any] | None:
        """The session; None where there is none."""
        session: AgentSession[Any] | None = getattr(self._activity, "session", None)
        return session

    def attach(self, report: Report, *, audio: bool) -> None:
        """Watch from now on.

        Args:
            report: Tells the taps.
            audio: Whether they want to hear the agent.
        """
        session = self.session
        if session is None:
            return
        self._report = report
        watched: tuple[tuple[Any, str, Callable[..., None]], ...] = (
            (session, "agent_state_changed", self._state_changed),
            (session, "speech_created", self._speech_created),
            (self._activity.llm, "metrics_collected", self._measured),
            (self._activity.tts, "metrics_collected", self._measured),
        )
        for emitter, event, callback in watched:
            if hasattr(emitter, "on"):
                emitter.on(event, callback)
                self._undo.append(partial(emitter.off, event, callback))
        if audio and session.output.audio is not None:
            self._listen(session.output.audio)

    def detach(self) -> None:
        """Watch nothing more."""
        self._report = None
        for undo in self._undo:
            undo()
        self._undo.clear()

    def _tell(self, kind: MomentKind, payload: object = None, at: float | None = None) -> None:
        if self._report is not None:
            self._report(kind, payload, at)

    def _state_changed(self, event: AgentStateChangedEvent) -> None:
        assert self.session is not None
        if event.new_state == "speaking":
            self._spoken = self.session.current_speech
            self._tell(MomentKind.BOT_STARTED)
        elif event.old_state == "speaking":
            self._tell(MomentKind.BOT_STOPPED)

    def _speech_created(self, event: SpeechCreatedEvent) -> None:
        event.speech_handle.add_done_callback(self._speech_done)

    def _speech_done(self, handle: Any) -> None:
        # The end of a session interrupts, too.
        is_user = self.session is not None and self.session.user_state == "speaking"
        if handle.interrupted and handle is self._spoken and is_user:
            self._tell(MomentKind.INTERRUPTION)

    def _measured(self, metrics: object) -> None:
        """An LLM or a voice has finished, and says when it had begun."""
        match metrics:
            case LLMMetrics(ttft=first):
                began = self._began(metrics)
                self._tell(MomentKind.LLM_STARTED, None, began)
                if first >= 0:
                    self._tell(MomentKind.LLM_OUTPUT, None, began + first)
            case TTSMetrics(ttfb=first) if first >= 0:
                self._tell(MomentKind.TTS_OUTPUT, None, self._began(metrics) + first)

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
            self._tell(MomentKind.BOT_AUDIO, BotAudio(pcm, frame.sample_rate))
            await capture(frame)

        output.capture_frame = capture_and_report
        self._undo.append(lambda: output.__dict__.pop("capture_frame", None))
