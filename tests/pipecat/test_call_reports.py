"""A recording tells what the pipeline around a service did."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
from pipecat.frames.frames import EndFrame, Frame, TTSAudioRawFrame
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins.observe.reader import RecordedCall, read_recording
from cartesia_ink_plugins.pipecat import InkManualSTTService, InkTurnsSTTService
from tests.pipecat.conversation import Voice, conversation, tone
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.wire import CUE, START, Play, end, update

VOICE = tone(24_000, 0.4)


class Tone(TTSService):
    """Says every sentence as a tone."""

    def __init__(self) -> None:
        settings = TTSSettings(model="tone", voice=None, language=None)
        self.said: list[str] = []
        super().__init__(push_start_frame=True, sample_rate=24_000, settings=settings)

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        self.said.append(text)
        for start in range(0, len(VOICE), 960):
            yield TTSAudioRawFrame(VOICE[start : start + 960], 24_000, 1, context_id=context_id)


def kinds(call: RecordedCall) -> list[str]:
    told = "interruption", "llm_started", "llm_output", "tts_output", "bot_started", "bot_stopped"
    return [moment.kind for moment in call.of(*told)]


async def test_a_turn_its_reply_and_the_interruption_are_recorded(tmp_path: Path) -> None:
    def recorded(url: str) -> InkTurnsSTTService:
        return ours(url, record=tmp_path / "call.ink")

    script: Play = [START, update("Hi"), end("Hi"), CUE, START, update("Stop"), end("Stop")]
    voice = Voice(speaking_time=60)
    tts = Tone()
    async with talk_to(script, recorded, voice=voice, after_voice=[tts]) as (talk, server):
        await talk.say(tone(16_000, 0.2))
        await talk.until(lambda: bool(voice.spoken))
        server.go_on()
        await talk.until(lambda: len(voice.spoken) > 1 and len(tts.said) > 1)
        await talk.task.queue_frame(EndFrame())
        await talk.until(lambda: (tmp_path / "call.ink").is_file())
    call = read_recording(tmp_path / "call.ink")
    assert call.meta.is_complete
    assert kinds(call)[:2] == ["llm_started", "llm_output"]
    told = Counter(kinds(call))
    assert told["llm_started"] == told["llm_output"] == told["bot_started"] == 2
    assert told["interruption"] == 1
    assert told["tts_output"] >= 1 <= told["bot_stopped"]
    audio = call.audio()
    assert audio is not None
    assert np.abs(audio.bot).max() > 10_000
    said = np.frombuffer(tone(16_000, 0.2), np.int16)
    # A machine that was late has pauses in what was said.
    assert np.array_equal(audio.caller[audio.caller != 0], said[said != 0])


@pytest.mark.parametrize("service", [InkTurnsSTTService, InkManualSTTService])
def test_a_wrong_record_is_told_where_it_is_given(
    service: type[InkTurnsSTTService] | type[InkManualSTTService],
) -> None:
    with pytest.raises(UsageError, match="record: the path is empty"):
        service(api_key="any", record="")


async def test_with_ink_record_a_service_records_without_a_line_of_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INK_RECORD", str(tmp_path))
    stt = InkManualSTTService(api_key="any", base_url="ws://127.0.0.1:9")
    async with conversation(stt) as talk:
        await talk.hear(0.5)
        await talk.until(lambda: stt.stats().received > 0)
    [call] = [read_recording(path) for path in list(tmp_path.iterdir())]  # noqa: ASYNC240
    assert call.meta.is_complete
    assert call.audio() is not None
