"""A recorded call in a Pipecat pipeline, on a virtual clock: every frame that is pushed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair

from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import Caller, LocalInk, Recording
from tests.pipecat.conversation import ScriptedLLM, Voice
from tests.testing.replaying import Replay, replay

TOKEN_DELAY = 0.1  # seconds; a reply takes its time, so that it can be withdrawn
SPEAKING_TIME = 1.5  # seconds; long enough to be interrupted


class Frames(BaseObserver):
    """Writes down every frame: when, from where to where, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[str] = []

    async def on_push_frame(self, data: FramePushed) -> None:
        ends = f"{type(data.source).__name__} > {type(data.destination).__name__}"
        what = f"{type(data.frame).__name__} {getattr(data.frame, 'text', '')}"
        self.history.append(f"{asyncio.get_running_loop().time():.6f} {ends}: {what}")


async def replayed(recording: Recording, path: Path, *, watched: bool = True) -> Replay:
    """Play a call to a bot.

    Args:
        recording: The call.
        path: Where the bot's own call is recorded.
        watched: Whether every frame is written down, which takes as long as the rest.
    """
    frames = Frames()
    with LocalInk(recording, strict=False) as server:
        stt = InkTurnsSTTService(api_key="any", url=server.url, record=path)
        pair = LLMContextAggregatorPair(LLMContext())
        llm, voice = ScriptedLLM(token_delay=TOKEN_DELAY), Voice(speaking_time=SPEAKING_TIME)
        worker = PipelineWorker(
            Pipeline([stt, pair.user(), llm, voice, pair.assistant()]),
            params=PipelineParams(audio_in_sample_rate=recording.sample_rate),
            observers=[frames] if watched else [],
            idle_timeout_secs=None,
            enable_rtvi=False,
            enable_turn_tracking=False,
        )
        return await replay(Caller(server, path), worker, lambda: frames.history)
