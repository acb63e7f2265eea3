"""A recorded call, played through a Pipecat pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pipecat.frames.frames import BotStartedSpeakingFrame, Frame, InterimTranscriptionFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import (
    Caller,
    LocalInk,
    Recording,
    assert_answered,
    assert_no_reply_before_turn_end,
)
from tests.pipecat.conversation import ScriptedLLM, Voice
from tests.pipecat.replayed import replayed
from tests.testing.replaying import MUTED_AND_LOST, recorded
from tests.testing.test_recording import VERSION_1

REPLAY = pytest.mark.ink_server(Recording(VERSION_1), strict=False)


class Hasty(FrameProcessor):
    """Speaks while the user does."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterimTranscriptionFrame):
            await self.broadcast_frame(BotStartedSpeakingFrame)
        await self.push_frame(frame, direction)


def bot(url: str, *also: FrameProcessor, **options: Any) -> PipelineWorker:
    stt = InkTurnsSTTService(api_key="any", url=url)
    pair = LLMContextAggregatorPair(LLMContext())
    parts = [stt, *also, pair.user(), ScriptedLLM(), Voice(), pair.assistant()]
    params = PipelineParams(audio_in_sample_rate=16_000)
    return PipelineWorker(
        Pipeline(parts), params=params, cancel_on_idle_timeout=False, enable_rtvi=False, **options
    )


@REPLAY
async def test_a_call_is_answered_as_it_should_be(ink_server: LocalInk, ink_caller: Caller) -> None:
    call = await ink_caller.play(bot(ink_server.url), clock="virtual")
    assert_answered(call)
    assert_no_reply_before_turn_end(call)
    ends = [m.fields["transcript"] for m in call.of("event") if m.fields["event"] == "turn.end"]
    assert ends == Recording(VERSION_1).transcripts
    assert len(list(call.of("lost"))) == 1


@REPLAY
async def test_a_bot_that_answers_before_the_end_fails(
    ink_server: LocalInk, ink_caller: Caller
) -> None:
    call = await ink_caller.play(bot(ink_server.url, Hasty()), clock="virtual")
    with pytest.raises(AssertionError, match=r"before turn.end:\n  turn 1 'Hello there.'"):
        assert_no_reply_before_turn_end(call)


@REPLAY
async def test_a_bot_without_a_recording_is_named(
    ink_caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartesia_ink_plugins.testing.caller._BEGINNING", 0.0)
    worker = PipelineWorker(Pipeline([ScriptedLLM()]), idle_timeout_secs=None, enable_rtvi=False)
    with pytest.raises(UsageError, match="no STT of this package, or one with its own record="):
        await ink_caller.play(worker, clock="virtual")


async def test_every_replay_has_the_same_frames_at_the_same_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, _ = recorded(MUTED_AND_LOST, tmp_path)
    first = await replayed(recording, tmp_path / "first.ink")
    monkeypatch.setattr("cartesia_ink_plugins.observe.recorder._MOST", 50)  # as on a slow disk
    second = await replayed(recording, tmp_path / "second.ink")
    assert first.history == second.history
    assert any("InterruptionFrame" in line for line in first.history)
    ends = [
        m.fields["transcript"] for m in first.call.of("event") if m.fields["event"] == "turn.end"
    ]
    assert ends == recording.transcripts
    for kind in ("audio", "lost"):  # one line for each part between mutes
        assert len(list(first.call.of(kind))) == len(list(recording.call.of(kind))) > 1
