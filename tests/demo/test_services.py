"""How the assistant reads the two frameworks' contexts, and what the offline voice says."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

import numpy as np
import pytest
from livekit.agents import llm
from pipecat.processors.aggregators.llm_context import LLMContext

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import MissingExtraError
from cartesia_ink_plugins.demo import livekit_services, pipecat_services
from cartesia_ink_plugins.demo.booking import BookingResult, UserMessage, make_booking
from cartesia_ink_plugins.demo.voice import Voice

ARGUMENTS = {"date": "2026-11-27", "time": "20:00", "party_size": 6, "name": "O'Brien"}
RESULT = make_booking(ARGUMENTS)


def test_a_pipecat_context_is_read() -> None:
    context = LLMContext(
        [
            {"role": "system", "content": "You book tables."},
            {"role": "user", "content": "A table."},
            {"role": "assistant", "content": "For which day?"},
            {"role": "user", "content": [{"type": "text", "text": "Friday."}]},
            {"role": "tool", "tool_call_id": "1", "content": "IN_PROGRESS"},
            {"role": "tool", "tool_call_id": "1", "content": json.dumps(RESULT)},
        ]
    )
    assert list(pipecat_services.read_chat(context.get_messages())) == [
        UserMessage("A table."),
        UserMessage("Friday."),
        BookingResult(RESULT["reference"]),
    ]


def test_the_pipecat_function_describes_itself_to_a_real_llm() -> None:
    context = LLMContext(tools=[pipecat_services.book_table])
    (schema,) = cast(Any, context.tools).standard_tools
    assert schema.name == "book_table"
    assert set(schema.required) == set(ARGUMENTS)


@pytest.mark.parametrize("output", [json.dumps(RESULT), str(RESULT)], ids=["json", "python"])
def test_a_livekit_context_is_read(output: str) -> None:
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="You book tables.")
    context.add_message(role="user", content="A table.")
    context.add_message(role="assistant", content="For which day?")
    context.insert(
        llm.FunctionCallOutput(call_id="1", name="book_table", output=output, is_error=False)
    )
    assert list(livekit_services.read_chat(context.items)) == [
        UserMessage("A table."),
        BookingResult(RESULT["reference"]),
    ]


def test_an_error_of_the_function_is_no_booking() -> None:
    context = llm.ChatContext.empty()
    context.insert(
        llm.FunctionCallOutput(call_id="1", name="book_table", output="no table", is_error=True)
    )
    assert list(livekit_services.read_chat(context.items)) == []


async def test_the_voice_speaks_a_sentence_at_a_time_at_the_rate_that_is_wanted() -> None:
    voice = await Voice.load(16_000)
    try:
        pieces = [pcm async for pcm in voice.speak("Hello. How are you today?")]
        nothing = b"".join([pcm async for pcm in voice.speak("")])
    finally:
        voice.close()
    assert len(pieces) == 2
    for pcm in pieces:
        samples = AudioFormat(sample_rate=16_000).decode(pcm)
        assert 0.3 < len(samples) / 16_000 < 4
        assert 0.3 < np.abs(samples).max() <= 1
    assert nothing == b""


async def test_the_loop_goes_on_while_the_voice_speaks() -> None:
    voice = await Voice.load()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    try:
        async for _ in voice.speak("This is a rather long sentence, which takes a while."):
            break
    finally:
        ticking.cancel()
        voice.close()
    assert ticks > 10


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(MissingExtraError, match=r"piper.*pip install"):
        Voice.load_now()
