"""The official clients talk to the local server unchanged, and get the words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cartesia_ink_plugins import (
    Credentials,
    Final,
    InkManualClient,
    InkTurnsClient,
    ManualOptions,
    RejectedError,
    TurnEnd,
    TurnsOptions,
)
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Rules, Script, Turn
from tests.conformance.official import OFFICIAL, Speak
from tests.conformance.programs import PYTHON_SDK, TYPESCRIPT_SDK, Program
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
    assert record.client_error is None


@clients
async def test_they_survive_fields_and_types_that_nobody_knows_yet(speak: Speak) -> None:
    async with InkServer(SCRIPT, rules=Rules(extra_fields=True)) as server:
        texts = await speak(server.url, SCRIPT.audio(), turns=3)
    assert [text.strip() for text in texts] == [text.strip() for text in SCRIPT.transcripts]


@PYTHON_SDK.marks
async def test_the_sdk_makes_a_token_that_lets_a_client_in() -> None:
    async with InkServer(SCRIPT, api_keys=["sk_test"]) as server:
        token = await PYTHON_SDK.run(server.url, b"", endpoint="token")
        texts = await heard_with(server.url, Credentials(access_token=token), SCRIPT)
    assert texts == SCRIPT.transcripts


# The version of this package, the one that Cartesia's SDKs send, and one that nobody knows yet.
VERSIONS = pytest.mark.parametrize("version", ["2026-03-01", "2026-08-14", "2031-12-31"])


@VERSIONS
@pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(PYTHON_SDK, marks=PYTHON_SDK.marks, id="python"),
        pytest.param(TYPESCRIPT_SDK, marks=TYPESCRIPT_SDK.marks, id="typescript"),
    ],
)
async def test_the_sdks_get_the_words_in_every_version(sdk: Program, version: str) -> None:
    async with InkServer(SCRIPT) as server:
        texts = await sdk.run(server.url, SCRIPT.audio(), version=version)
    assert texts == SCRIPT.transcripts
    [record] = server.connections
    assert record.parameter("cartesia_version") == version
    assert record.client_error is None


@VERSIONS
async def test_our_clients_get_the_words_in_every_version(version: str) -> None:
    key = Credentials(api_key="sk_test")
    async with InkServer(SCRIPT) as server:
        turns = TurnsOptions(base_url=server.url, cartesia_version=version)
        async with InkTurnsClient(turns, key) as client:
            client.send_audio(SCRIPT.audio())
            await client.finish()
            ends = [event.transcript async for event in client if isinstance(event, TurnEnd)]
        manual = ManualOptions(base_url=server.url, cartesia_version=version)
        async with InkManualClient(manual, key) as client:
            client.send_audio(SCRIPT.audio())
            await client.finish()
            finals = [event.text async for event in client if isinstance(event, Final)]
    assert ends == SCRIPT.transcripts
    assert "".join(finals) == "".join(SCRIPT.transcripts)
    assert [record.headers["cartesia-version"] for record in server.connections] == [version] * 2
    assert [record.client_error for record in server.connections] == [None, None]


@VERSIONS
async def test_an_error_has_its_status_in_every_version(version: str) -> None:
    async with InkServer(SCRIPT) as server:
        options = TurnsOptions(base_url=server.url, model="nova", cartesia_version=version)
        with pytest.raises(RejectedError) as caught:
            async with InkTurnsClient(options, Credentials(api_key="sk_test")) as client:
                client.send_audio(SCRIPT.audio())
                await client.finish()
                _ = [event async for event in client]
    assert caught.value.status == 400


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
