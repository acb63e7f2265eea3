"""A whole call through each framework, with the words known beforehand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date

import pytest

from cartesia_ink_plugins.demo.journal import CallEvent
from cartesia_ink_plugins.demo.livekit_call import hold_livekit_call
from cartesia_ink_plugins.demo.pipecat_call import hold_pipecat_call
from cartesia_ink_plugins.demo.report import Exchange, Report, report
from cartesia_ink_plugins.demo.telephone import Telephone
from cartesia_ink_plugins.livekit import STT
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import InkServer
from tests.demo.playing import LINES, QUICK, Hum, caller, script

Hold = Callable[[Telephone, str, Hum], Awaitable[None]]

pytestmark = pytest.mark.usefixtures("virtual_clock")


async def in_pipecat(telephone: Telephone, url: str, voice: Hum) -> None:
    stt = InkTurnsSTTService(url=url, api_key="any")
    await hold_pipecat_call(telephone, stt, voice, timing=QUICK)


async def in_livekit(telephone: Telephone, url: str, voice: Hum) -> None:
    # What the script hears no VAD takes for a voice: here words interrupt.
    stt = STT(base_url=url, api_key="any")
    await hold_livekit_call(telephone, stt, voice, timing=QUICK, vad=None)


@pytest.fixture(params=[in_pipecat, in_livekit], ids=["pipecat", "livekit"])
def hold(request: pytest.FixtureRequest) -> Hold:
    chosen: Hold = request.param
    return chosen


async def play(hold: Hold) -> tuple[Telephone, Hum, Report]:
    telephone, voice = Telephone(caller()), Hum()
    async with InkServer(script()) as server:
        await hold(telephone, server.url, voice)
    return telephone, voice, report(telephone.journal, LINES, date.today())


async def test_the_table_is_booked_as_the_caller_wants(hold: Hold) -> None:
    telephone, voice, result = await play(hold)
    assert [
        (check.what, check.passed, check.detail) for check in result.checks if not check.passed
    ] == []
    assert [e.transcript.strip() for e in result.exchanges] == [line.spoken_text for line in LINES]
    _the_pause_is_no_end(result.exchanges[1])
    _the_readback_is_cut_off(result.exchanges[3], result.exchanges[4])
    _replies_are_ready_before_their_turn_ends(result)
    assert voice.texts[-1].endswith("Goodbye!")
    assert len(list(telephone.journal.of(CallEvent.BOOKED))) == 1


def _the_pause_is_no_end(exchange: Exchange) -> None:
    assert exchange.resumed == 1
    assert exchange.answered == "Very well. For 6 people. At what time?"


def _the_readback_is_cut_off(readback: Exchange, change: Exchange) -> None:
    assert readback.cut_off
    assert change.bot_stopped is not None
    assert not change.cut_off
    assert "8 o'clock in the evening" in change.answered


def _replies_are_ready_before_their_turn_ends(result: Report) -> None:
    """Half a second of lead is enough, but a busy machine may have it for some replies only."""
    ready = [exchange.ready_lead for exchange in result.exchanges]
    assert sum(lead is not None and lead > 0 for lead in ready) >= 2
