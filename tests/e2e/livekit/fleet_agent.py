"""An agent for many workers: hears through the Ink server it is told of, and says who it is.

Its LLM repeats what it heard and its voice is a tone, so that a worker takes next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, tts

from cartesia_ink_plugins import livekit as ink
from tests.livekit.harness import Llm, Tts

NAME = os.environ.get("WORKER_NAME", "worker")
LONG_ANSWER_TO = os.environ.get("LONG_ANSWER_TO")
MAX_CALLS = int(os.environ.get("MAX_CALLS", "8"))
HEARD = os.environ.get("HEARD", os.devnull)


def load(server: AgentServer) -> float:
    """The part of this worker's Ink streams that is in use, 0 to 1."""
    return min(len(server.active_jobs) / MAX_CALLS, 1.0)


server = AgentServer(
    initialize_process_timeout=60.0,
    load_fnc=load,
    load_threshold=0.99,
    port=0,
    num_idle_processes=1,
    drain_timeout=60,
)


class Repeater(Agent):
    """Writes down the audio that the room brings it, in the file that HEARD names."""

    def __init__(self) -> None:
        super().__init__(instructions="Repeat.")

    async def stt_node(self, audio: AsyncIterable[rtc.AudioFrame], model_settings: Any) -> Any:
        """Hear as any agent does."""
        async for event in Agent.default.stt_node(self, recorded(audio), model_settings):
            yield event


class Tone(Tts):
    """Speaks 0.2 s, but 30 s when it repeats the word that LONG_ANSWER_TO names."""

    def synthesize(self, text: str, **options: Any) -> tts.ChunkedStream:
        """Speak a tone."""
        self.seconds = 30.0 if LONG_ANSWER_TO and LONG_ANSWER_TO in text else 0.2
        return super().synthesize(text, **options)


async def recorded(audio: AsyncIterable[rtc.AudioFrame]) -> AsyncIterable[rtc.AudioFrame]:
    """Write the frames down as they pass."""
    with Path(HEARD).open("wb", buffering=0) as file:  # noqa: ASYNC230 - a small local file
        async for frame in audio:
            file.write(frame.data)
            yield frame


@server.rtc_session()
async def answer(context: JobContext) -> None:
    """Answer a call."""
    session: AgentSession[None] = AgentSession(
        stt=ink.STT(),
        llm=Llm(prefix=f"{NAME} heard"),
        tts=Tone(),
        vad=None,
        turn_handling={"turn_detection": "stt"},
    )
    await session.start(agent=Repeater(), room=context.room)


if __name__ == "__main__":
    cli.run_app(server)
