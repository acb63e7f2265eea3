"""The two Pipecat bots of `examples/`, called over WebRTC; with real speech in `browser/`."""

from __future__ import annotations

import asyncio
import re
import socket
from html import escape
from pathlib import Path

import pytest
from pipecat.frames.frames import TTSSpeakFrame

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.caller import LINES
from cartesia_ink_plugins.demo.journal import CallEvent
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.latency import explanation, latencies
from cartesia_ink_plugins.observe.timeline.model import build_timeline
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import (
    Caller,
    InkServer,
    LocalInk,
    Recording,
    Script,
    assert_answered,
    assert_no_reply_before_turn_end,
)
from examples.pipecat_bot import make_worker
from tests.e2e.bots import run_example, running_bot
from tests.e2e.calling import web_call
from tests.testing.test_recording import VERSION_1


@pytest.mark.parametrize("example", ["pipecat_bot.py", "pipecat_foundational.py"])
async def test_a_caller_is_greeted_and_understood(example: str) -> None:
    lines = LINES[:2]
    script = Script(*(line.spoken_text for line in lines))
    format = AudioFormat()
    audio = [
        script.audio()[format.size(start - 0.2) : format.size(end + 0.2)]
        for start, end in script.spans
    ]
    async with InkServer(script) as ink:
        environment = {"CARTESIA_BASE_URL": ink.url, "CARTESIA_API_KEY": "any"}
        async with (
            running_bot(example, environment=environment) as bot,
            web_call(bot.url, lines, audio) as call,
        ):
            await call.hold()
    heard = " ".join(call.texts("user-transcription"))
    for words in script.transcripts:
        assert words.strip() in heard
    said = " ".join(call.texts("bot-transcription"))
    assert "For which day may I book?" in said
    assert "For how many people?" in said
    # The bot's track carries speech: a greeting, and an answer to each line.
    assert len(list(call.telephone.journal.of(CallEvent.BOT_SPEAKS))) >= 3


async def test_a_call_has_a_timeline_when_it_is_over(tmp_path: Path) -> None:
    line, script = LINES[0], Script(LINES[0].spoken_text)
    async with InkServer(script) as ink:
        environment = {
            "CARTESIA_BASE_URL": ink.url,
            "CARTESIA_API_KEY": "any",
            "INK_RECORD": str(tmp_path),
        }
        async with running_bot(environment=environment) as bot:
            async with web_call(bot.url, [line], [script.audio()]) as call:
                await call.hold()
            while not (told := re.search(rb"What happened in this call: (.+)\n", bot.said)):
                await asyncio.sleep(0.1)
    shows_the_call(Path(told[1].decode()), tmp_path, script)


def shows_the_call(page: Path, folder: Path, script: Script) -> None:
    [recording] = folder.glob("*.ink")
    assert page == recording.with_suffix(".html")
    timeline = build_timeline(read_recording(recording))
    assert [turn.text for turn in timeline.turns] == script.transcripts
    # The greeting, and the answer.
    assert len(timeline.bot) >= 2
    [latency] = latencies(timeline)
    assert latency.is_whole
    assert escape(explanation(latency, timeline)) in page.read_text("utf-8")


@pytest.mark.ink_server(Recording(VERSION_1), strict=False)
@pytest.mark.parametrize("answers_too_early", [False, True])
async def test_a_recorded_call_is_a_regression_test(
    answers_too_early: bool, ink_server: LocalInk, ink_caller: Caller
) -> None:
    """As docs/recording.md has it; the bot thinks and speaks as it does in a call."""
    stt = InkTurnsSTTService(api_key="any", url=ink_server.url)

    async def interrupt(*_: object) -> None:
        await stt.push_frame(TTSSpeakFrame("I know!"))

    if answers_too_early:
        stt.add_event_handler("on_turn_update", interrupt)
    call = await ink_caller.play(make_worker(stt), clock="virtual")
    if answers_too_early:
        with pytest.raises(AssertionError, match=r"before turn.end:\n  turn 1 'Hello there.'"):
            assert_no_reply_before_turn_end(call)
    else:
        assert_no_reply_before_turn_end(call)
        assert_answered(call)


@pytest.mark.parametrize("example", ["pipecat_bot.py"])
async def test_a_port_in_use_is_said_in_one_line(example: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = await run_example(example, "--host", "127.0.0.1", "--port", port)
    assert status == 2
    assert f"port {port} of 127.0.0.1: Address already in use" in said.splitlines()[-1]
    assert "Traceback" not in said
