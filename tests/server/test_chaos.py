"""Conversations over real sockets while everything goes wrong.

Every conversation has its own server, its own faults and its own seed. Of ten, two are held over
TLS, and one of these through an HTTP proxy. A failure prints the seed and the faults;
`INK_CHAOS_SEED=17 pytest tests/server/test_chaos.py` plays that one again, and
`INK_CHAOS_SEED=20-99` more of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from cartesia_ink_plugins import (
    AudioGap,
    Credentials,
    Event,
    InkTurnsClient,
    TurnEnd,
    TurnsOptions,
)
from cartesia_ink_plugins.server.fault_text import format_fault
from cartesia_ink_plugins.testing import InkServer, Script, assert_heard, assert_turn_order
from tests.random_faults import random_faults
from tests.server.listening import PCM16
from tests.server.relay import HOST, client_context, http_proxy, tls_in_front_of

SEEDS = range(20)
AT_ONE_TIME = 20
OVER_TLS, THROUGH_A_PROXY = 8, 9  # the last digit of a seed
CHUNK = 0.05
# What is lost last is found in the time after it: an outage of 8 s, a dial, a replay.
PATIENCE = 12.0
KEY = Credentials(api_key="k")

pytestmark = pytest.mark.usefixtures("virtual_clock")


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
        async with AsyncExitStack() as stack:
            url, tls = server.url, None
            if seed % 10 in (OVER_TLS, THROUGH_A_PROXY):
                # Hosts that differ: one of them is connected to directly.
                host = "localhost" if seed % 10 == THROUGH_A_PROXY else HOST
                port = await stack.enter_async_context(tls_in_front_of(server.port))
                url, tls = f"https://{host}:{port}", client_context()
            client = InkTurnsClient(TurnsOptions(base_url=url), KEY, ssl_context=tls)
            await stack.enter_async_context(client)

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
        assert 0 < len(dials) < 60, f"{len(dials)} dials"
    except AssertionError as wrong:
        return f"seed {seed}, {', '.join(map(format_fault, faults))}: {wrong}"
    return None


async def speak(client: InkTurnsClient, pcm: bytes) -> None:
    started = time.monotonic()
    size = PCM16.size(CHUNK)
    for number, start in enumerate(range(0, len(pcm), size), start=1):
        client.send_audio(pcm[start : start + size])
        await asyncio.sleep(max(0.0, started + number * CHUNK - time.monotonic()))


def asked_for() -> Sequence[int]:
    """The seeds to play."""
    first, _, last = os.environ.get("INK_CHAOS_SEED", "").partition("-")
    return range(int(first), int(last or first) + 1) if first else SEEDS


async def test_no_word_is_lost_and_no_turn_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    before, room = asyncio.all_tasks(), asyncio.Semaphore(AT_ONE_TIME)

    async def play(seed: int) -> str | None:
        async with room:
            return await converse(seed)

    async with http_proxy() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:{port}")
        monkeypatch.setenv("NO_PROXY", HOST)
        wrong = [line for line in await asyncio.gather(*map(play, asked_for())) if line]
    assert not wrong, "\n".join(wrong)
    assert asyncio.all_tasks() == before
