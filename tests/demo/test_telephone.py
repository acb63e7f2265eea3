"""The line between caller and bot: what each hears, and what is written down."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.demo.caller import TICK_BYTES, Caller, CallerTiming, Line
from cartesia_ink_plugins.demo.journal import CallEvent, Note
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE, Loudspeaker, Telephone

TIMING = CallerTiming(answer_after=0.1, patience=0.6, hang_up_after=0.1)


def tone(seconds: float, rate: int = 16_000) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    wave = (0.3 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    return AudioFormat(sample_rate=rate).encode(wave)


def a_telephone(watch: Callable[[Note], None] | None = None) -> Telephone:
    caller = Caller([Line("a", "Hello.")], timing=TIMING, audio=[tone(0.3)], greeted=False)
    return Telephone(caller, watch=watch)


async def hold(telephone: Telephone) -> bytes:
    """Let a bot answer 0.2 s when it has heard the caller."""
    heard = bytearray()

    async def deliver(pcm: bytes) -> None:
        assert len(pcm) == TICK_BYTES
        was_silent = not any(heard)
        heard.extend(pcm)
        if was_silent and any(pcm):
            telephone.loudspeaker.write(tone(0.2, BOT_SAMPLE_RATE))

    await telephone.run(deliver)
    return bytes(heard)


async def test_the_bot_hears_the_caller() -> None:
    heard = await hold(a_telephone())
    assert heard.strip(b"\0") == tone(0.3).strip(b"\0")


async def test_what_happens_is_noted_in_order() -> None:
    seen: list[Note] = []
    telephone = a_telephone(seen.append)
    await hold(telephone)
    assert seen == telephone.journal.notes
    notes = [note.what for note in telephone.journal.of(*CallEvent)]
    assert notes[0] is CallEvent.CALLER_SPEAKS
    assert notes.index(CallEvent.CALLER_SPEAKS) < notes.index(CallEvent.BOT_SPEAKS)
    assert CallEvent.CALLER_SPOKE in notes
    assert seen[0].text == "Hello."


async def test_both_voices_are_recorded_as_they_met(tmp_path: Path) -> None:
    telephone = a_telephone()
    await hold(telephone)
    path = tmp_path / "call.wav"
    telephone.save(path)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, BOT_SAMPLE_RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    caller, bot = (np.flatnonzero(np.abs(samples[:, side].astype(int)) > 500) for side in (0, 1))
    assert (caller[-1] - caller[0]) / BOT_SAMPLE_RATE == pytest.approx(0.3, abs=0.02)
    assert (bot[-1] - bot[0]) / BOT_SAMPLE_RATE == pytest.approx(0.2, abs=0.02)
    assert bot[0] > caller[0]


async def test_a_call_ends_at_the_latest_when_it_is_told_to() -> None:
    caller = Caller([Line("a", "Hello.")], audio=[tone(0.1)])
    telephone = Telephone(caller, longest=0.1)

    async def deliver(pcm: bytes) -> None:
        pass

    await telephone.run(deliver)
    assert caller.now == pytest.approx(0.1)


async def test_the_loudspeaker_lets_a_writer_wait() -> None:
    speaker = Loudspeaker()
    speaker.write(tone(0.2, BOT_SAMPLE_RATE))
    waiting = asyncio.create_task(speaker.wait_below(0.1))
    speaker.take(0.05)
    await asyncio.sleep(0)
    assert not waiting.done()
    speaker.take(0.05)
    await asyncio.wait_for(waiting, 30)
    assert speaker.seconds == pytest.approx(0.1)


async def test_the_loudspeaker_falls_silent_at_once() -> None:
    speaker = Loudspeaker()
    speaker.write(tone(1.0, BOT_SAMPLE_RATE))
    waiting = asyncio.create_task(speaker.wait_below(0.0))
    await asyncio.sleep(0)
    speaker.clear()
    await asyncio.wait_for(waiting, 30)
    assert speaker.take(0.02) == b""


async def test_a_writer_does_not_wait_for_someone_who_has_hung_up() -> None:
    speaker = Loudspeaker()
    speaker.write(tone(1.0, BOT_SAMPLE_RATE))
    waiting = asyncio.create_task(speaker.wait_below(0.0))
    speaker.close()
    await asyncio.wait_for(waiting, 30)
    speaker.write(tone(1.0, BOT_SAMPLE_RATE))
    await asyncio.wait_for(speaker.wait_below(0.0), 30)


async def test_the_caller_hears_what_is_played() -> None:
    heard = bytearray()
    caller = Caller([Line("a", "Hello.")], timing=TIMING, audio=[tone(0.1)], greeted=False)
    telephone = Telephone(caller, play=heard.extend)
    await hold(telephone)
    assert bytes(heard) == tone(0.2, BOT_SAMPLE_RATE)


async def test_the_end_of_a_voice_that_was_cut_off_is_noted_even_if_the_next_follows_at_once() -> (
    None
):
    telephone = a_telephone()
    spoke = False

    async def deliver(pcm: bytes) -> None:
        nonlocal spoke
        loudspeaker = telephone.loudspeaker
        if any(pcm) and not spoke:
            spoke = True
            loudspeaker.write(tone(10.0, BOT_SAMPLE_RATE))
        elif spoke and 9.0 < loudspeaker.seconds < 9.9:
            loudspeaker.clear()
            loudspeaker.write(tone(0.2, BOT_SAMPLE_RATE))

    await telephone.run(deliver)
    bot = list(telephone.journal.of(CallEvent.BOT_SPEAKS, CallEvent.BOT_SILENT))
    assert [note.what for note in bot[:3]] == [
        CallEvent.BOT_SPEAKS,
        CallEvent.BOT_SILENT,
        CallEvent.BOT_SPEAKS,
    ]
    assert bot[2].at - bot[1].at < 0.1
