"""Conversations over real sockets while everything goes wrong.

Every conversation has its own server, its own faults and its own seed. A failure prints the seed
and the faults; `INK_CHAOS_SEED=17 pytest tests/server/test_chaos.py` plays that one again.
"""

from __future__ import annotations

import asyncio
import os
import time

from cartesia_ink_plugins import (
    AudioGap,
    Credentials,
    Event,
    InkTurnsClient,
    TurnEnd,
    TurnsOptions,
)
from cartesia_ink_plugins.server.fault_plan import random_faults
from cartesia_ink_plugins.server.fault_text import format_fault
from cartesia_ink_plugins.testing import InkServer, Script, assert_heard, assert_turn_order
from tests.server.listening import PCM16

SEEDS = range(20)
CHUNK = 0.05
# What is lost last is found in the time after it: an outage of 8 s, a dial, a replay.
PATIENCE = 12.0


def script(seed: int) -> Script:
    """Three turns of words that are all different, so that each lost or doubled one shows."""
    turns = [[f"{seed}.{turn}.{word}" for word in range(4)] for turn in range(3)]
    return Script(*(f"{a} {b} ... {c} {d}" for a, b, c, d in turns))


async def converse(seed: int) -> str | None:
    """Hold a conversation.

    Returns:
        What is wrong with it; None if nothing is.
    """
    said = script(seed)
    faults = random_faults(seed, seconds=said.seconds, count=3)
    events: list[Event] = []
    async with InkServer(said, faults=faults, seed=seed) as server:
        options = TurnsOptions(base_url=server.url)
        async with InkTurnsClient(options, Credentials(api_key="k")) as client:

            async def listen() -> None:
                events.extend([event async for event in client])

            listening = asyncio.create_task(listen())
            await speak(client, said.audio() + PCM16.silence(PATIENCE))
            await client.finish(60.0)
            await listening
        assert server.proxy is not None
        dials = server.proxy.connected_at
    try:
        assert not any(isinstance(event, AudioGap) for event in events), "audio was given up"
        assert_turn_order(events)
        assert_heard([e.transcript for e in events if isinstance(e, TurnEnd)], said.transcripts)
        assert len(dials) < 60, f"{len(dials)} dials"
    except AssertionError as wrong:
        return f"seed {seed}, {', '.join(map(format_fault, faults))}: {wrong}"
    return None


async def speak(client: InkTurnsClient, pcm: bytes) -> None:
    started = time.monotonic()
    size = PCM16.size(CHUNK)
    for number, start in enumerate(range(0, len(pcm), size), start=1):
        client.send_audio(pcm[start : start + size])
        await asyncio.sleep(max(0.0, started + number * CHUNK - time.monotonic()))


async def test_no_word_is_lost_and_no_turn_is_cut() -> None:
    asked = os.environ.get("INK_CHAOS_SEED")
    seeds = [int(asked)] if asked else SEEDS
    before = asyncio.all_tasks()
    wrong = [line for line in await asyncio.gather(*map(converse, seeds)) if line]
    assert not wrong, "\n".join(wrong)
    assert asyncio.all_tasks() == before
