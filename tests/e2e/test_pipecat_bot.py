"""The two Pipecat bots of `examples/`, called over WebRTC; with real speech in `browser/`."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from tests.e2e.bots import RunningBot, run_example, running_bot
from tests.e2e.calling import WebCall, web_call
from tests.testing.test_recording import VERSION_1


@dataclass(frozen=True, slots=True)
class HeldCall:
    """A call that is over.

    Attributes:
        call: What the caller heard and was told.
        bot: Who answered it; still running, and ready for another.
        script: What was said.
        folder: Where the bot records its calls.
    """

    call: WebCall
    bot: RunningBot
    script: Script
    folder: Path

    def is_understood(self) -> None:
        """The lines were heard and answered, behind a greeting, and all of it was audible."""
        heard = " ".join(self.call.texts("user-transcription"))
        for words in self.script.transcripts:
            assert words.strip() in heard
        said = " ".join(self.call.texts("bot-transcription"))
        assert "For which day may I book?" in said
        assert "For how many people?" in said
        # The bot's track carries speech: a greeting, and an answer to each line.
        spoken = list(self.call.telephone.journal.of(CallEvent.BOT_SPEAKS))
        assert len(spoken) >= 1 + len(self.script.transcripts)


@asynccontextmanager
async def held_call(example: str, folder: Path, count: int) -> AsyncIterator[HeldCall]:
    """Start a bot and have the recorded caller say so many lines in coded speech."""
    lines = LINES[:count]
    script = Script(*(line.spoken_text for line in lines))
    format = AudioFormat()
    audio = [
        script.audio()[format.size(start - 0.2) : format.size(end + 0.2)]
        for start, end in script.spans
    ]
    async with InkServer(script) as ink:
        environment = {
            "CARTESIA_BASE_URL": ink.url,
            "CARTESIA_API_KEY": "any",
            "INK_RECORD": str(folder),
        }
        async with running_bot(example, environment=environment) as bot:
            async with web_call(bot.url, lines, audio) as call:
                await call.hold()
            yield HeldCall(call, bot, script, folder)


async def test_the_foundational_bot_greets_and_understands_a_caller(tmp_path: Path) -> None:
    async with held_call("pipecat_foundational.py", tmp_path, 1) as held:
        held.is_understood()


async def test_a_caller_is_greeted_and_understood_and_the_call_has_a_timeline(
    tmp_path: Path,
) -> None:
    async with held_call("pipecat_bot.py", tmp_path, 2) as held:
        held.is_understood()
        async with asyncio.timeout(60):
            while not (told := re.search(rb"What happened in this call: (.+)\n", held.bot.said)):
                await asyncio.sleep(0.1)
    shows_the_call(Path(told[1].decode()), held)


def shows_the_call(page: Path, held: HeldCall) -> None:
    [recording] = held.folder.glob("*.ink")
    assert page == recording.with_suffix(".html")
    timeline = build_timeline(read_recording(recording))
    assert [turn.text for turn in timeline.turns] == held.script.transcripts
    # The greeting, and the answers.
    assert len(timeline.bot) >= 3
    shown = latencies(timeline)
    assert len(shown) == 2
    for latency in shown:
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


async def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = await run_example("pipecat_bot.py", "--host", "127.0.0.1", "--port", port)
    assert status == 2
    assert f"port {port} of 127.0.0.1: Address already in use" in said.splitlines()[-1]
    assert "Traceback" not in said
