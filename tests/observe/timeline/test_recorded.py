"""A call that was recorded, over a real socket that is lost in the middle of a turn."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnEnd, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.tap import MomentKind, Speculation, SpeculationOutcome
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.model import CallTimeline, build_timeline
from cartesia_ink_plugins.testing import InkServer, Script

SCRIPT = Script("Hello there, good morning.", "A table for two.")


async def recorded(path: Path) -> CallTimeline:
    """Hold a call with a bot that says what it does, and lose a connection in the first turn."""
    async with InkServer(SCRIPT, faults=["reset@turn.update:2#0"]) as server:
        options = TurnsOptions(base_url=server.url, turn=TurnSettings(turn_end_threshold=0.3))
        client = InkTurnsClient(options, Credentials(api_key="any"), record=path)
        async with client:
            speaking = asyncio.create_task(speak(client))
            async for event in client:
                if isinstance(event, TurnEnd):
                    client.report(MomentKind.LLM_OUTPUT)
                    client.report(MomentKind.BOT_STARTED)
                    client.report(MomentKind.INTERRUPTION)
                    client.report(MomentKind.BOT_STOPPED)
                    client.report(
                        MomentKind.SPECULATION_ENDED,
                        Speculation(SpeculationOutcome.KEPT, 0.2, prompt_tokens=40),
                    )
            await speaking
    return build_timeline(read_recording(path))


async def speak(client: InkTurnsClient) -> None:
    pcm, size = SCRIPT.audio(), 640
    began = asyncio.get_running_loop().time()
    for at in range(0, len(pcm), size):
        client.send_audio(pcm[at : at + size])
        due = began + (at + size) / 32_000
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
    await client.finish()


async def test_the_timeline_has_what_happened(tmp_path: Path) -> None:
    timeline = await recorded(tmp_path / "call.ink")
    assert [turn.text for turn in timeline.turns] == SCRIPT.transcripts
    assert timeline.is_complete
    [loss] = timeline.losses
    assert loss.text.startswith("connection 1 lost: ")
    assert [one.text.partition(",")[0] for one in timeline.connections] == [
        "connection 1",
        "connection 2",
    ]
    first, second = timeline.turns
    [caught_up] = timeline.catching_up
    [replayed] = timeline.replayed
    assert first.start < loss.t <= caught_up.start < caught_up.end
    assert (
        caught_up.text == f"catching up: {replayed.end - replayed.start:.1f} s of audio sent again"
    )
    # What was sent again was spoken before, and is of the first turn.
    assert replayed.start < loss.t
    assert replayed.end <= caught_up.start + 0.1
    assert timeline.thresholds[0][1] == {"end": 0.3}
    assert len(timeline.bot) == len(timeline.interruptions) == 2
    for turn in (first, second):
        assert turn.end is not None and turn.speech_end is not None
        assert turn.start < turn.speech_end < turn.end <= (turn.bot_started or 0.0)
        [reply] = turn.replies
        assert (reply.outcome, reply.prompt_tokens) == ("kept", 40)


async def test_a_recording_that_was_cut_off_has_a_timeline(tmp_path: Path) -> None:
    """A process that was killed leaves a folder."""
    await recorded(tmp_path / "whole.ink")
    folder = tmp_path / "cut.ink"
    with zipfile.ZipFile(tmp_path / "whole.ink") as archive:
        archive.extractall(folder)
    meta, lines = folder / "meta.json", folder / "session.jsonl"
    meta.write_text(meta.read_text().replace('"is_complete": true', '"is_complete": false'))
    lines.write_bytes(lines.read_bytes()[:-200])
    timeline = build_timeline(read_recording(folder))
    assert not timeline.is_complete
    assert timeline.turns[0].text == SCRIPT.transcripts[0]
