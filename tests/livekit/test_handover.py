"""What a failed stream hands over: sound without a gap, whatever the rates of the two streams."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, stt

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.livekit.handover import Handover
from cartesia_ink_plugins.server.coded_speech import WORD_SECONDS
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Received, until
from tests.livekit.outages import unused_url

ROOM = AudioFormat(sample_rate=ROOM_RATE)
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT
PHRASE = "I would like to book a table for two at seven."
ONCE = APIConnectOptions(max_retry=0)


def frames_of(pcm: bytes, seconds: float = 0.05) -> list[rtc.AudioFrame]:
    """The room's audio in frames, the last one with the rest."""
    size = ROOM.size(seconds)
    pieces = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    return [rtc.AudioFrame(piece, ROOM_RATE, 1, len(piece) // 2) for piece in pieces]


def middle_of_word(script: Script, number: int) -> int:
    """How many bytes of the room's audio there are when half of a word has been said."""
    begins = script.spans[0][0] + number * (WORD_SECONDS + ScriptTiming().word_gap)
    return ROOM.size(begins + WORD_SECONDS / 2)


async def hand_over(failing: list[stt.STT[Any]], last: stt.STT[Any], script: Script) -> Received:
    """Let STTs whose servers are away fail in turn, and the last one recognize.

    The first one fails in the middle of the fourth word, and the last one's stream is opened in the
    middle of the seventh.
    """
    pcm = script.audio(ROOM)
    switched, opened = middle_of_word(script, 3), middle_of_word(script, 6)
    async with asyncio.timeout(60.0), AsyncExitStack() as stack:
        for recogniser in failing:
            told: list[stt.STTError] = []
            recogniser.on("error", told.append)
            failed = await stack.enter_async_context(recogniser.stream(conn_options=ONCE))
            if recogniser is failing[0]:
                for frame in frames_of(pcm[:switched]):
                    failed.push_frame(frame)
            await until(told.copy)
            if recogniser is failing[-1]:
                for frame in frames_of(pcm[switched:opened]):
                    failed.push_frame(frame)
            with pytest.raises(APIConnectionError):
                await anext(failed)
        stream = await stack.enter_async_context(last.stream())
        for frame in frames_of(pcm[opened:]):
            stream.push_frame(frame)
        stream.end_input()
        return Received([event async for event in stream])


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ({"sample_rate": 16_000}, {"sample_rate": 8_000, "encoding": "pcm_mulaw"}),
        ({"sample_rate": 16_000}, {}),
        ({"sample_rate": 8_000}, {"sample_rate": 8_000}),
        ({}, {"sample_rate": 16_000}),
    ],
    ids=["16 to 8 kHz", "16 kHz to the room's", "8 to 8 kHz", "the room's to 16 kHz"],
)
async def test_a_switch_in_the_middle_of_a_word_costs_no_sound(
    make_ink: MakeSTT, first: dict[str, Any], last: dict[str, Any]
) -> None:
    """A resampler still holds 30 to 120 ms; a word that lacks 30 ms is no word."""
    script = Script(PHRASE)
    async with InkServer(script) as good:
        failing = [make_ink(await unused_url(), **first)]
        received = await hand_over(failing, make_ink(good.url, **last), script)
    assert received.texts(FINAL) == script.transcripts


async def test_the_rate_of_the_room_is_known_also_after_a_stream_into_which_nothing_was_pushed(
    make_ink: MakeSTT,
) -> None:
    """The second one fails at once; the third one is given frames of the room's rate."""
    script = Script(PHRASE)
    async with InkServer(script) as good:
        failing = [make_ink(await unused_url(), sample_rate=16_000) for _ in range(2)]
        received = await hand_over(failing, make_ink(good.url), script)
        assert good.connections[0].parameter("sample_rate") == str(ROOM_RATE)
    assert received.texts(FINAL) == script.transcripts


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_frames_are_resampled_as_one(rate: int) -> None:
    pcm = Script(PHRASE).audio(ROOM)
    resampled = []
    for seconds in (0.01, 10.0):
        handover = Handover(ROOM_RATE)
        for frame in frames_of(pcm, seconds):
            handover.add(frame)
        (item,) = handover.at_rate(rate)
        assert isinstance(item, rtc.AudioFrame)
        assert item.sample_rate == rate
        resampled.append(np.frombuffer(item.data, np.int16).astype(int))
    # The resampler dithers: what is the same may differ by a step or two of 32768.
    assert np.abs(resampled[0] - resampled[1]).max() <= 4
    assert abs(len(resampled[0]) / rate - ROOM.seconds(len(pcm))) < 0.001
