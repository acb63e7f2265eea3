"""Tokens of a reply that was discarded, with the frameworks' own clients of OpenAI's API.

The usage is either in each chunk of a reply, as some servers send it, or in the last one only, as
OpenAI does: then nobody knows what a reply used that was cancelled before.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from livekit.agents import inference
from pipecat.frames.frames import Frame, MetricsFrame
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.services.openai.llm import OpenAILLMService

from cartesia_ink_plugins import SpeculationStats
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.harness import ROOM_RATE, call, until
from tests.observe.openai_server import OpenAIServer, Tells, openai_server
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.wire import CUE, RESUME, START, Play, eager, end, update

ROOM = AudioFormat(sample_rate=ROOM_RATE)
ALL_TELLS: tuple[Tells, ...] = ("each chunk", "last chunk")


def check(told: SpeculationStats, server: OpenAIServer) -> None:
    """Nothing is told but what the API has told, or an estimate that is marked."""
    _, (_, read, written), *_ = server.usage
    assert told.withdrawn == 1
    if server.tells == "each chunk":
        assert told.wasted_prompt_tokens == read
        assert told.wasted_completion_tokens == written
        assert told.estimated_wasted_prompt_tokens == 0
    else:
        assert (told.wasted_prompt_tokens, told.wasted_completion_tokens) == (0, 0)
        assert told.estimated_wasted_prompt_tokens == pytest.approx(read, rel=0.01)


@pytest.mark.parametrize("tells", ALL_TELLS)
async def test_pipecat(tells: Tells) -> None:
    play: Play = [START, end("hello"), CUE, START, eager("a"), CUE, RESUME, update("a b")]
    play = [*play, end("a b")]
    async with openai_server(tells, never_ends="a") as server:
        llm = OpenAILLMService(api_key="any", base_url=server.url)
        first_chunks = 0

        async def on_push(_: object, frame: Frame) -> None:
            nonlocal first_chunks
            if isinstance(frame, MetricsFrame):
                first_chunks += sum(
                    isinstance(d, TTFBMetricsData) and d.value > 0 for d in frame.data
                )

        llm.add_event_handler("on_before_push_frame", on_push)

        def make(url: str) -> InkTurnsSTTService:
            return ours(url, resume_grace=0)

        async with talk_to(play, make, llm=cast(Any, llm)) as (talk, wire):
            assert isinstance(talk.stt, InkTurnsSTTService)
            stats = talk.stt.stats
            await talk.hear()
            await talk.until(lambda: server.replied == 1)
            wire.go_on()
            await talk.until(lambda: first_chunks == 2)
            wire.go_on()
            await talk.until(lambda: stats().speculations.withdrawn == 1 and server.replied == 2)
            check(stats().speculations, server)
        await llm._client.close()  # which Pipecat leaves to the garbage collector


@pytest.mark.parametrize("tells", ALL_TELLS)
async def test_livekit(tells: Tells) -> None:
    script = Script("Hello there.", "A table ... for two.")
    async with openai_server(tells, never_ends="A table") as server, InkServer(script) as service:
        llm = inference.LLM(
            "openai/gpt-4o-mini", base_url=server.url, api_key="devkey", api_secret="s" * 32
        )
        recogniser = ink.STT(base_url=service.url, api_key="any")
        async with call(recogniser, answers=cast(Any, llm)) as running:
            await running.microphone.speak(script.audio(ROOM) + ROOM.silence(0.5))
            await running.answered(2)
            await until(lambda: recogniser.stats().speculations.withdrawn)
            await until(lambda: recogniser.stats().speculations.kept == 2)
        told = recogniser.stats().speculations
        await recogniser.aclose()
        await llm.aclose()
    check(told, server)
    (_, read, written), _, (_, more_read, more_written) = server.usage
    assert told.prompt_tokens - told.wasted_prompt_tokens == read + more_read
    assert told.completion_tokens - told.wasted_completion_tokens == written + more_written
