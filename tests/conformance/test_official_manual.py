"""The official clients of the manual endpoint and of whole files are served unchanged."""

from __future__ import annotations

import io
import json
import wave
from itertools import pairwise

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Rules, Script
from tests.conformance.official_manual import with_pipecat
from tests.conformance.programs import PYTHON_SDK, TYPESCRIPT_SDK, Program

SCRIPT = Script("Hello there.", "I'd like a table ... for two people.", "Thanks.")


def turns(script: Script) -> list[bytes]:
    """The audio of each turn, with the silence around it."""
    format = AudioFormat()
    pcm = script.audio(format)
    cuts = [0, *(format.size(end + 0.4) for _, end in script.spans)]
    return [pcm[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(PYTHON_SDK, marks=PYTHON_SDK.marks, id="python"),
        pytest.param(TYPESCRIPT_SDK, marks=TYPESCRIPT_SDK.marks, id="typescript"),
    ],
)
@pytest.mark.parametrize("model", ["ink-2", "ink-whisper"])
@pytest.mark.parametrize("rules", [Rules(), Rules(extra_fields=True)], ids=["", "more-fields"])
async def test_the_sdk_gets_every_word_before_flush_done(
    sdk: Program, model: str, rules: Rules
) -> None:
    pieces = turns(SCRIPT)
    async with InkServer(SCRIPT, rules=rules) as server:
        texts = await sdk.run(
            server.url,
            b"".join(pieces),
            endpoint="manual",
            model=model,
            pieces=[len(piece) for piece in pieces],
        )
    assert texts == SCRIPT.transcripts
    [record] = server.connections
    assert record.received == ["finalize"] * 3 + ["close"]
    assert record.client_error is None


@PYTHON_SDK.marks
async def test_the_sdk_gets_the_words_of_a_file() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(SCRIPT.audio())
    async with InkServer(SCRIPT) as server:
        answer = await PYTHON_SDK.run(
            server.url, file.getvalue(), endpoint="batch", model="ink-whisper"
        )
    assert answer["text"] == "".join(SCRIPT.transcripts)
    assert "".join(word["word"] for word in answer["words"]) == answer["text"]
    assert answer["duration"] == pytest.approx(SCRIPT.seconds)


async def test_pipecat_gets_every_word_of_whisper() -> None:
    async with InkServer(SCRIPT) as server:
        texts = await with_pipecat(server.url, turns(SCRIPT), model="ink-whisper", wanted=3)
    assert [t.strip() for t in texts] == [t.strip() for t in SCRIPT.transcripts]


async def test_pipecat_gets_every_delta_and_makes_a_frame_of_each() -> None:
    """Which breaks words: why `InkManualSTTService` does not."""
    async with InkServer(SCRIPT) as server:
        deltas = await with_pipecat(server.url, turns(SCRIPT), model="ink-2", wanted=8)
    [record] = server.connections
    sent = [json.loads(text) for text in record.sent]
    said = [message["text"] for message in sent if message["type"] == "transcript"]
    assert "".join(said) == "".join(SCRIPT.transcripts)
    assert len(said) >= 8
    assert [delta for delta in said if delta.strip()][: len(deltas)] == deltas
