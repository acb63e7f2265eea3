"""A recorded call in an AgentSession, on a virtual clock: every event of the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path
from typing import Any, get_args

from livekit import rtc
from livekit.agents import Agent, AgentSession, ModelSettings, stt
from livekit.agents.voice.events import EventTypes

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.testing import Caller, LocalInk, Recording
from tests.livekit.harness import Llm, Tts
from tests.testing.replaying import Replay, replay

SPEAKING_TIME = 1.5  # seconds; long enough to be interrupted


class _Agent(Agent):
    """Writes down every speech event."""

    def __init__(self, history: list[str]) -> None:
        super().__init__(instructions="Answer.")
        self.history = history

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncGenerator[stt.SpeechEvent, None]:
        async for event in Agent.default.stt_node(self, audio, model_settings):
            text = event.alternatives[0].text if event.alternatives else ""
            self.history.append(f"{asyncio.get_running_loop().time():.6f} {event.type} {text}")
            yield event


async def replayed(recording: Recording, path: Path, *, watched: bool = True) -> Replay:
    """Play a call to an agent; see the one of Pipecat for the arguments."""
    agent = _Agent([])
    with LocalInk(recording, strict=False) as server:
        session: AgentSession[None] = AgentSession(
            stt=ink.STT(api_key="any", base_url=server.url, record=path),
            llm=Llm(),
            tts=Tts(SPEAKING_TIME),
            vad=None,
            turn_handling={"turn_detection": "stt"},
        )
        for kind in get_args(EventTypes) if watched else ():
            session.on(kind, lambda event: agent.history.append(_line(event)))
        return await replay(Caller(server, path), session, lambda: agent.history, agent)


def _line(event: Any) -> str:
    """Return when an event came, and what it says that is no name of an object."""
    said = [
        f"{name}={value}"
        for name in ("old_state", "new_state", "transcript", "is_final", "created_at", "item")
        if (value := getattr(event, name, None)) is not None and name != "item"
    ]
    if text := getattr(getattr(event, "item", None), "text_content", ""):
        said.append(f"text={text}")
    return f"{asyncio.get_running_loop().time():.6f} {event.type} {' '.join(said)}"
