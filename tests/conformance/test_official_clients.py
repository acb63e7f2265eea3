"""The official clients talk to the local server unchanged, and get the words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cartesia_ink_plugins import Credentials
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Rules, Script, Turn
from tests.conformance.official import OFFICIAL, Speak, token_of_cartesia_sdk
from tests.server.calling import heard_with

SCRIPT = Script(
    "Hello there.", "I'd like a table ... for two people.", Turn("Thanks. ", eager=False)
)

clients = pytest.mark.parametrize("speak", OFFICIAL.values(), ids=OFFICIAL)


@clients
@pytest.mark.parametrize("rate", [16_000, 24_000])
async def test_they_get_the_words_of_a_script(speak: Speak, rate: int) -> None:
    pcm = SCRIPT.audio(AudioFormat(sample_rate=rate))
    async with InkServer(SCRIPT) as server:
        texts = await speak(server.url, pcm, rate=rate, turns=3)
    assert [text.strip() for text in texts] == [text.strip() for text in SCRIPT.transcripts]
    (record,) = server.connections
    assert record.transcripts == SCRIPT.transcripts
    assert record.parameter("sample_rate") == str(rate)
    assert record.complaint is None


@clients
async def test_they_survive_fields_and_types_that_nobody_knows_yet(speak: Speak) -> None:
    async with InkServer(SCRIPT, rules=Rules(extra_fields=True)) as server:
        texts = await speak(server.url, SCRIPT.audio(), turns=3)
    assert [text.strip() for text in texts] == [text.strip() for text in SCRIPT.transcripts]


async def test_the_sdk_makes_a_token_that_lets_a_client_in() -> None:
    async with InkServer(SCRIPT, api_keys=["sk_test"]) as server:
        token = await token_of_cartesia_sdk(server.url)
        texts = await heard_with(server.url, Credentials(access_token=token), SCRIPT)
    assert texts == SCRIPT.transcripts


@clients
@pytest.mark.needs("audio")
async def test_they_get_the_words_of_real_speech(speak: Speak, audio_dir: Path) -> None:
    from cartesia_ink_plugins.server.speech import SpeechEngine

    name = "ps_librivox_0930"
    samples, rate = soundfile.read(audio_dir / f"{name}.wav", dtype="int16")
    quiet = np.zeros(2 * rate, np.int16)
    pcm = np.concatenate([quiet[: rate // 2], samples, quiet]).tobytes()
    async with InkServer(SpeechEngine()) as server:
        texts = await speak(server.url, pcm, rate=rate, turns=1, real_time=True)
    spoken = json.loads((audio_dir / "transcripts.json").read_text())
    assert words("".join(texts)) == words(spoken[name])


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower().replace("-", " "))
