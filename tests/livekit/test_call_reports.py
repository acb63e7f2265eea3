"""A recording tells what the session around an STT did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from livekit.agents import Agent, stt

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Llm, Speaker, Tts, call, until

ROOM = AudioFormat(sample_rate=ROOM_RATE)


async def test_a_turn_its_reply_and_the_interruption_are_recorded(
    make_ink: MakeSTT, tmp_path: Path
) -> None:
    script = Script("Tell me everything.", "Stop.")
    path = tmp_path / "call.ink"
    async with (
        InkServer(script) as server,
        call(
            make_ink(server.url, record=path),
            speaker=Speaker(real_time=True),
            voice=Tts(seconds=8.0),
        ) as running,
    ):
        await running.microphone.speak(script.audio(ROOM))
        await until(lambda: running.speaker.interrupted)
        await until(lambda: len(running.speaker.began) > 1)
    await until(path.is_file)
    recording = read_recording(path)
    assert recording.meta.is_complete
    times = {
        kind: [m.t for m in recording.of(kind)]
        for kind in (
            "llm_started",
            "llm_output",
            "tts_output",
            "bot_started",
            "interruption",
            "bot_stopped",
        )
    }
    assert times["llm_started"][0] <= times["llm_output"][0] <= times["tts_output"][0]
    assert times["tts_output"][0] < times["interruption"][0]
    assert times["bot_started"][0] < times["interruption"][0]
    assert len(times["bot_started"]) == len(times["bot_stopped"]) == 2
    assert len(times["interruption"]) == 1
    audio = recording.audio()
    assert audio is not None
    said = np.frombuffer(script.audio(ROOM), np.int16)
    assert np.array_equal(audio.caller[: len(said)], said[: len(audio.caller)])
    first = times["bot_started"][0]
    heard = audio.bot[int(first * ROOM_RATE) : int((first + 0.3) * ROOM_RATE)]
    assert np.abs(heard).max() > 1000


async def test_behind_an_adapter_it_is_recorded_too(make_ink: MakeSTT, tmp_path: Path) -> None:
    script, path = Script("Hello there."), tmp_path / "call.ink"
    async with InkServer(script) as server:
        adapter = stt.FallbackAdapter([make_ink(server.url, record=path), make_ink(server.url)])
        async with call(adapter) as running:
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
        await adapter.aclose()
    await until(path.is_file)
    recording = read_recording(path)
    assert recording.meta.is_complete
    for kind in ("llm_started", "tts_output", "bot_started", "bot_stopped"):
        assert len(list(recording.of(kind))) == 1, kind


async def test_the_models_of_another_agent_are_recorded_too(
    make_ink: MakeSTT, tmp_path: Path
) -> None:
    script, path = Script("Hello there.", Turn("Good bye.", gap=1.0)), tmp_path / "call.ink"
    pcm = script.audio(ROOM)
    pause = ROOM.size(script.spans[0][1] + 0.5)
    async with InkServer(script) as server, call(make_ink(server.url, record=path)) as running:
        await running.microphone.speak(pcm[:pause])
        await running.answered(1)
        running.session.update_agent(Agent(instructions="", llm=Llm(prefix="So"), tts=Tts()))
        await running.microphone.speak(pcm[pause:])
        await running.answered(2)
    await until(path.is_file)
    recording = read_recording(path)
    for kind in ("llm_started", "tts_output", "bot_started", "bot_stopped"):
        assert len(list(recording.of(kind))) == 2, kind


async def test_a_stream_without_a_session_is_recorded_too(
    make_ink: MakeSTT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INK_RECORD", str(tmp_path))
    async with InkServer(Script("Hello.")) as server:
        recognizer = make_ink(server.url)
        stream = recognizer.stream()
        for piece in range(0, 48_000, 960):
            stream.push_frame(ink_frame(Script("Hello.").audio(ROOM)[piece : piece + 960]))
        stream.end_input()
        async for _ in stream:
            pass
        await stream.aclose()
    [path] = list(tmp_path.iterdir())  # noqa: ASYNC240
    assert read_recording(path).meta.is_complete


def ink_frame(pcm: bytes) -> object:
    from livekit import rtc

    return rtc.AudioFrame(pcm, ROOM_RATE, 1, len(pcm) // 2)


def test_a_wrong_record_is_told_where_it_is_given() -> None:
    with pytest.raises(UsageError, match="record: the path is empty"):
        ink.STT(api_key="any", record="")
