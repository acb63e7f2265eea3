"""What is waited for when a frame must not be overtaken, and how long at the most."""

from __future__ import annotations

import asyncio

import pytest
from pipecat.frames.frames import TranscriptionFrame

from cartesia_ink_plugins.pipecat.llms import LLMWatch
from cartesia_ink_plugins.pipecat.witness import TurnWitness


def frame() -> TranscriptionFrame:
    return TranscriptionFrame("Hi", "", "")


async def test_a_frame_is_waited_for_until_it_was_handled() -> None:
    witness = TurnWitness(LLMWatch(), patience=600)
    witness.attach()
    witness.expect(expected := frame())
    waiting = asyncio.create_task(witness.settled())
    witness.handled(frame())
    await asyncio.sleep(0.02)
    assert not waiting.done(), "it was another frame"
    witness.handled(expected)
    await waiting


async def test_patience_is_lost_once_and_comes_back_with_the_frames() -> None:
    witness = TurnWitness(LLMWatch(), patience=1.0)
    witness.attach()
    async with asyncio.timeout(30):  # each time, it would be a minute
        for _ in range(60):
            witness.expect(lost := frame())
            await witness.settled()
    witness.handled(lost)
    witness.expect(frame())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await witness.settled()


async def test_without_an_aggregator_that_tells_nothing_is_waited_for() -> None:
    witness = TurnWitness(LLMWatch(), patience=600)
    witness.expect(frame())
    await witness.settled()
