"""A field that is added to the API's turn messages reaches both frameworks with no edit of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from livekit.agents.stt import SpeechEvent, SpeechEventType
from loguru import logger
from pipecat.frames.frames import InterimTranscriptionFrame

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import Cue, InkServer, Script
from tests.livekit.harness import ROOM_RATE, transcribe
from tests.pipecat.conversation import conversation

KEY = "any"
ON_UPDATE = {"confidence": 0.93, "speaker": {"id": 7, "name": "Ada"}}
ON_END = {"confidence": 0.97, "tags": ["order", None], "sentiment": "calm"}


def message(kind: str, **fields: Any) -> str:
    """Write a message as a later version of the API may send it."""
    return json.dumps({"type": kind, "request_id": "later", **fields})


LATER = Script(
    cues=[
        Cue(0.2, message("turn.start")),
        Cue(0.4, message("turn.update", transcript="Hello", **ON_UPDATE)),
        Cue(0.6, message("turn.end", transcript="Hello there.", **ON_END)),
    ]
)


@pytest.fixture(autouse=True)
def _quiet_framework() -> Iterator[None]:
    logger.disable("pipecat")
    yield
    logger.enable("pipecat")


async def test_a_new_field_is_read_on_the_result_of_pipecats_frames() -> None:
    async with InkServer(LATER) as server:
        service = InkTurnsSTTService(api_key=KEY, url=server.url)
        async with conversation(service) as talk:
            await talk.say(AudioFormat().silence(1.0))
            await talk.until(lambda: bool(talk.finals))
            [interim] = talk.tap.down(InterimTranscriptionFrame)
            [final] = talk.finals
    assert isinstance(interim, InterimTranscriptionFrame)
    assert isinstance(interim.result, dict) and isinstance(final.result, dict)
    assert ON_UPDATE.items() <= interim.result.items()
    assert ON_END.items() <= final.result.items()


async def test_a_new_field_is_read_in_the_metadata_of_livekits_events() -> None:
    async with InkServer(LATER) as server:
        recogniser = ink.STT(api_key=KEY, base_url=server.url)
        received = await transcribe(recogniser, AudioFormat(sample_rate=ROOM_RATE).silence(1.0))
        await recogniser.aclose()
    [interim] = received.of(SpeechEventType.INTERIM_TRANSCRIPT)
    [final] = received.of(SpeechEventType.FINAL_TRANSCRIPT)
    [end] = received.of(SpeechEventType.END_OF_SPEECH)
    assert ON_UPDATE.items() <= metadata(interim).items()
    assert ON_END.items() <= metadata(final).items()
    assert ON_END.items() <= metadata(end).items()


def metadata(event: SpeechEvent) -> dict[str, Any]:
    """The metadata of a speech event, the same as that of its transcript, if it has one."""
    found: dict[str, Any] = event.metadata  # type: ignore[attr-defined]
    assert all(data.metadata == found for data in event.alternatives)
    return found
