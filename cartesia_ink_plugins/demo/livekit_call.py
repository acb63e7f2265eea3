"""One call through a LiveKit `AgentSession`, with the demo's telephone as its audio devices."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents import (
    NOT_GIVEN,
    AgentSession,
    ConversationItemAddedEvent,
    ModelSettings,
    NotGivenOr,
    llm,
    stt,
    vad,
)
from livekit.agents.voice import Agent, io

from cartesia_ink_plugins.demo.caller import SAMPLE_RATE
from cartesia_ink_plugins.demo.journal import CallEvent, Journal
from cartesia_ink_plugins.demo.livekit_services import BookingAgent, BookingLLM, OfflineTTS
from cartesia_ink_plugins.demo.reply_timing import ReplyTiming
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE, Loudspeaker, Telephone
from cartesia_ink_plugins.demo.voice import Speaker

_AHEAD_SECONDS = 0.2  # audio that the agent writes ahead of playback, as a device buffers it


class TelephoneInput(io.AudioInput):
    """The caller's voice, as frames of 20 ms."""

    def __init__(self) -> None:
        """Create an input without audio."""
        super().__init__(label="telephone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        """Wait for the next frame."""
        return await self._frames.get()

    async def deliver(self, pcm: bytes) -> None:
        """Pass audio of the caller to the session.

        Args:
            pcm: 16-bit mono at 16 kHz.
        """
        self._frames.put_nowait(rtc.AudioFrame(pcm, SAMPLE_RATE, 1, len(pcm) // 2))


class TelephoneOutput(io.AudioOutput):
    """The agent's voice; reports to the session how much of it was played."""

    def __init__(self, loudspeaker: Loudspeaker) -> None:
        """Write to a loudspeaker.

        Args:
            loudspeaker: Playback buffer.
        """
        super().__init__(
            label="telephone",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=BOT_SAMPLE_RATE,
        )
        self._loudspeaker = loudspeaker
        self._written = 0.0
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Queue a frame, and wait until the buffer is short.

        Args:
            frame: Mono at `BOT_SAMPLE_RATE`.
        """
        await super().capture_frame(frame)
        if not self._written:
            self.on_playback_started(created_at=time.time())
        self._written += frame.duration
        self._loudspeaker.write(bytes(frame.data))
        await self._loudspeaker.wait_below(_AHEAD_SECONDS)

    def flush(self) -> None:
        """The reply is complete: report when it has been played."""
        super().flush()
        if self._written:
            self._playing = asyncio.create_task(self._play_out())

    def clear_buffer(self) -> None:
        """Stop playback at once."""
        if self._playing is not None:
            self._playing.cancel()
        played = self._written - self._loudspeaker.seconds
        self._loudspeaker.clear()
        if self._written:
            self._finish(played, interrupted=True)

    async def _play_out(self) -> None:
        await self._loudspeaker.wait_below(0.0)
        self._finish(self._written, interrupted=False)

    def _finish(self, played: float, *, interrupted: bool) -> None:
        self._written = 0.0
        self._playing = None
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class NotingAgent(BookingAgent):
    """The booking agent, which also adds speech events and bookings to the journal."""

    def __init__(self, journal: Journal) -> None:
        """Write to a journal.

        Args:
            journal: The journal of the call.
        """
        super().__init__()
        self._journal = journal

    def booked(self, facts: dict[str, Any]) -> None:
        """Add a booking to the journal."""
        self._journal.note(CallEvent.BOOKED, json.dumps(facts))

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterator[stt.SpeechEvent | str]:
        """Pass the speech events on and add them to the journal."""
        eager, final = "", ""
        async for event in Agent.default.stt_node(self, audio, model_settings):
            if isinstance(event, stt.SpeechEvent):
                text = event.alternatives[0].text if event.alternatives else ""
                match event.type:
                    case stt.SpeechEventType.START_OF_SPEECH:
                        eager, final = "", ""
                        self._journal.note(CallEvent.TURN_START)
                    case stt.SpeechEventType.INTERIM_TRANSCRIPT if eager and text == eager:
                        # A plugin withdraws a prediction with an interim of the same text.
                        eager = ""
                        self._journal.note(CallEvent.TURN_RESUME)
                    case stt.SpeechEventType.INTERIM_TRANSCRIPT:
                        self._journal.note(CallEvent.TURN_UPDATE, text)
                    case stt.SpeechEventType.PREFLIGHT_TRANSCRIPT:
                        eager = text
                        self._journal.note(CallEvent.TURN_EAGER_END, text)
                    case stt.SpeechEventType.FINAL_TRANSCRIPT:
                        final = text
                    case stt.SpeechEventType.END_OF_SPEECH:
                        self._journal.note(CallEvent.TURN_END, final)
            yield event


async def hold_livekit_call(
    telephone: Telephone,
    recogniser: stt.STT[Any],
    voice: Speaker,
    *,
    timing: ReplyTiming | None = None,
    vad: NotGivenOr[vad.VAD | None] = NOT_GIVEN,
) -> None:
    """Run the call in an `AgentSession` until the caller hangs up.

    The session is that of the README: turns are Ink's, and LiveKit's own VAD interrupts the agent
    after 0.5 s of voice.

    Args:
        telephone: The call.
        recogniser: An STT plugin that detects turns.
        voice: The agent's voice.
        timing: Simulated latency of the LLM.
        vad: The VAD; with None the first words interrupt the agent.
    """
    journal = telephone.journal
    session: AgentSession[None] = AgentSession(
        stt=recogniser,
        llm=BookingLLM(timing=timing, watch=journal.note),
        tts=OfflineTTS(voice, watch=journal.note),
        vad=vad,
        aec_warmup_duration=None,
        turn_handling={"turn_detection": "stt"},
    )

    def item_added(event: ConversationItemAddedEvent) -> None:
        item = event.item
        if isinstance(item, llm.ChatMessage) and item.role == "assistant":
            what = CallEvent.BOT_INTERRUPTED if item.interrupted else CallEvent.BOT_FINISHED
            journal.note(what, item.text_content or "")

    session.on("conversation_item_added", item_added)
    microphone = TelephoneInput()
    session.input.audio = microphone
    session.output.audio = TelephoneOutput(telephone.loudspeaker)
    try:
        await session.start(NotingAgent(journal), record=False)
        await telephone.run(microphone.deliver)
    finally:
        await session.aclose()
        await recogniser.aclose()
