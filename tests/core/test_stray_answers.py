"""A session that was accepted is not ended by what a stranger answers."""

from __future__ import annotations

import asyncio
import json

import pytest

from cartesia_ink_plugins import (
    Credentials,
    InkManualClient,
    InkTurnsClient,
    ManualOptions,
    RejectedError,
    TurnsOptions,
)
from cartesia_ink_plugins.core.events import ConnectFailed, ErrorMessage, TurnEnd, TurnStart
from cartesia_ink_plugins.core.net.http_errors import is_api_error
from cartesia_ink_plugins.server.faults import Outage
from cartesia_ink_plugins.server.frames import Opcode
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.hand import Hand, connected, started
from tests.core.sockets import Peer, raw_server
from tests.core.world import Timed, World, check_order

SCRIPT = Script(Turn("hello there", after=1.5), Turn("a table for two people please", after=2.0))
KEY = Credentials(api_key="sk_a_key_for_tests")
STRAY = [403, 404, 407, 409, 421, 425]


@pytest.mark.parametrize("status", [*STRAY, 400, 401, 402])
@pytest.mark.parametrize("seconds", [0.5, 8.0])
def test_no_word_is_lost_while_something_else_answers(status: int, seconds: float) -> None:
    at = SCRIPT.spans[1][0] + 0.5
    world = World(SCRIPT, [Timed(at, Outage(seconds, status))], tail=30.0).run()
    check_order(world.events)
    assert world.finals == SCRIPT.transcripts
    assert world.session.rejection is None
    assert status in [e.status for e in world.events if isinstance(e, ConnectFailed)]


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_answered_for_a_minute_is_the_answer(status: int) -> None:
    at = SCRIPT.spans[1][0] + 0.5
    world = World(SCRIPT, [Timed(at, Outage(600.0, status))], tail=120.0).run()
    assert world.session.rejection is not None
    assert world.session.rejection.status == status
    assert 60.0 <= world.now - at <= 70.0


@pytest.mark.parametrize("status", STRAY)
def test_the_api_itself_is_believed_at_once_but_for_what_may_pass(status: int) -> None:
    hand = connected()
    hand.silence(1.0)
    hand.close(1011)
    hand.wait(0.1)
    hand.session.connection_rejected(status, hand.now, is_api_error=True)
    assert (hand.session.rejection is not None) == (status in (403, 404, 409))


def test_a_connection_that_lived_for_ten_seconds_was_accepted() -> None:
    """The manual endpoint says nothing before there is text."""
    hand = started()
    hand.session.connection_opened(hand.now)
    hand.silence(12.0)
    hand.close(1011)
    hand.wait(0.1)
    hand.session.connection_rejected(403, hand.now)
    assert hand.session.rejection is None


class TestAPolicyClose:
    def reconnect(self) -> Hand:
        hand = connected()
        hand.receives(TurnStart(), TurnEnd("Hey"))
        hand.silence(1.0)
        hand.close(1011)
        hand.wait(0.1)
        hand.session.connection_opened(hand.now)
        return hand

    def test_on_a_reconnect_is_a_loss(self) -> None:
        hand = self.reconnect()
        hand.close(1008)
        assert hand.session.rejection is None
        assert not hand.session.is_closed

    def test_with_an_error_of_the_api_before_it_is_a_rejection(self) -> None:
        hand = self.reconnect()
        hand.receives(ErrorMessage(402, "No credit.", "Quota", "quota_exceeded"))
        hand.close(1008)
        assert hand.session.rejection is not None


@pytest.mark.parametrize(
    ("body", "is_error"),
    [
        ({"type": "error", "status_code": 403, "title": "No", "message": "Forbidden."}, True),
        ({"type": "error", "code": 400, "message": "Bad."}, True),
        ({"message": "Forbidden"}, False),
        ({"type": "about:blank", "status": 403, "title": "Forbidden"}, False),
        ({"type": "error"}, False),
        ({"type": "error", "message": ["no"], "code": 403}, False),
        ([], False),
    ],
)
def test_the_shape_of_an_error_of_the_api(body: object, is_error: bool) -> None:
    assert is_api_error(json.dumps(body).encode()) is is_error


@pytest.mark.parametrize("body", [b"", b"<html>Forbidden</html>", b"\xff", b"[" * 100_000])
def test_all_else_is_none(body: bytes) -> None:
    assert not is_api_error(body)


@pytest.mark.parametrize("kind", ["turns", "manual"])
async def test_over_sockets_a_page_of_a_captive_portal_is_tried_again(kind: str) -> None:
    async def talk(peer: Peer) -> None:
        if len(server.peers) == 2:
            await peer.read_request()
            peer.answer("403 Forbidden", b"<html>Please log in</html>")
            return
        await peer.upgrade()
        if kind == "turns":
            peer.send(Opcode.TEXT, '{"type":"connected","request_id":"r"}')
        peer.send(Opcode.TEXT, '{"type":"transcript","text":"Hey ","request_id":"r"}')
        await peer.receive()
        if len(server.peers) == 1:
            await peer.writer.drain()
            peer.close(1012)

    async with raw_server(talk) as server:
        ink = (
            InkTurnsClient(TurnsOptions(base_url=server.url), KEY)
            if kind == "turns"
            else InkManualClient(ManualOptions(base_url=server.url), KEY)
        )
        async with ink, asyncio.timeout(20.0):
            while len(server.peers) < 3 or not ink.is_connected:
                ink.send_audio(bytes(640))
                await asyncio.sleep(0.02)
            assert ink.rejection is None


async def test_at_the_very_first_connect_it_is_told_at_once() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_request()
        peer.answer("403 Forbidden", b"<html>Please log in</html>")

    async with (
        raw_server(talk) as server,
        InkTurnsClient(TurnsOptions(base_url=server.url), KEY) as ink,
    ):
        with pytest.raises(RejectedError) as refused:
            async for _ in ink:
                pass
        assert refused.value.status == 403
        assert len(server.peers) == 1
