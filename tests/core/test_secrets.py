"""No place in which a server can repeat a secret leads it into a log, an event or an error."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from urllib.parse import quote

import pytest

from cartesia_ink_plugins import (
    Credentials,
    InkTurnsClient,
    RejectedError,
    TranscriptionError,
    TurnsOptions,
    transcribe,
)
from cartesia_ink_plugins.core.events import Disconnected, ErrorMessage, Event
from cartesia_ink_plugins.core.tap import Moment, MomentKind
from cartesia_ink_plugins.server.frames import Opcode
from tests.core.sockets import Peer, raw_server

SECRET = "sk_car_9aZ-bcd_efghijklmnopqrstuvwxyz012345678"
PIECE = SECRET[:12]
ESCAPED = "".join(f"\\u{ord(c):04x}" for c in SECRET)
PERCENT = "".join(f"%{ord(c):02X}" for c in SECRET)
CONNECTED = '{"type":"connected","request_id":"r"}'


class Watch:
    """Everything that an observer of a session is shown."""

    kinds = frozenset(MomentKind) - {MomentKind.AUDIO, MomentKind.SENT}

    def __init__(self) -> None:
        self.text = ""
        self.is_over = asyncio.Event()

    def on(self, moment: Moment) -> None:
        self.text += f"{moment.payload!r} {moment.payload}\n"
        if moment.kind in (MomentKind.LOST, MomentKind.REJECTED):
            self.is_over.set()


def credentials(way: str) -> Credentials:
    async def provider() -> str:
        return SECRET

    return Credentials(**{way: provider if way == "token_provider" else SECRET})  # type: ignore[arg-type]


def inside(*messages: str | bytes, reason: str = "") -> Callable[[Peer], object]:
    """A server that accepts, says something and closes."""

    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        for message in messages:
            opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
            peer.send(opcode, message)
        peer.close(1011, reason)

    return talk


def answer(body: str | bytes, headers: str = "") -> Callable[[Peer], object]:
    """A server that rejects the upgrade."""

    async def talk(peer: Peer) -> None:
        await peer.read_request()
        data = body.encode() if isinstance(body, str) else body
        peer.answer("401 Unauthorized", data, headers)

    return talk


def error(**fields: object) -> str:
    whole = {"type": "error", "message": "No.", "status_code": 500, **fields}
    return json.dumps(whole).replace("\\\\", "\\")


LONG = "x" * 280
PLACES: dict[str, Callable[[Peer], object]] = {
    "close reason": inside(CONNECTED, reason=f"bad key {SECRET}"),
    "close reason in percent": inside(CONNECTED, reason=f"key {PERCENT[:90]}"[:3] + SECRET),
    "message": inside(error(message=SECRET)),
    "escaped message": inside(error(message=ESCAPED)),
    "message in percent": inside(error(message=PERCENT)),
    "title": inside(error(title=SECRET)),
    "code": inside(error(error_code=SECRET)),
    "doc_url": inside(error(doc_url=f"https://x/?access_token={PERCENT}")),
    "request id of an error": inside(error(request_id=SECRET)),
    "where the message is cut": inside(error(message=LONG + SECRET)),
    "permanent error": inside(error(message=ESCAPED, status_code=401)),
    "request id": inside(json.dumps({"type": "connected", "request_id": SECRET})),
    "unknown type": inside(json.dumps({"type": SECRET, "more": SECRET})),
    "unknown field": inside(CONNECTED, json.dumps({"type": "turn.start", "new": SECRET})),
    "no JSON": inside(f"bad {SECRET}"),
    "binary": inside(SECRET.encode()),
    "HTTP JSON": answer(error(message=f"bad key {ESCAPED}", status_code=401)),
    "HTTP JSON, cut": answer(error(message="x" * 180 + SECRET, status_code=401)),
    "HTTP in UTF-16": answer(error(message=SECRET, status_code=401).encode("utf-16")),
    "HTTP text": answer("x" * 180 + SECRET),
    "HTTP text in percent": answer(PERCENT),
    "HTTP text that is damaged": answer(b"bad sk_car\xff" + SECRET[6:].encode()),
    "HTTP request id": answer("No.", f"X-Request-Id: {SECRET}\r\n"),
}


@pytest.mark.parametrize("way", ["api_key", "access_token", "token_provider"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_server_that_repeats_a_secret_is_not_quoted(
    place: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    watch = Watch()
    async with raw_server(PLACES[place]) as server:  # type: ignore[arg-type]
        ink = InkTurnsClient(
            TurnsOptions(base_url=server.url),
            credentials(way),
            on_event=events.append,
            taps=[watch],
        )
        async with ink, asyncio.timeout(20.0):
            ink.send_audio(bytes(640))
            await watch.is_over.wait()
        shown = f"{events!r} {ink.rejection!r} {ink.rejection} {ink.request_id} {watch.text}"
        shown += caplog.text
    for hidden in (PIECE, ESCAPED[:36], PERCENT[:18], PERCENT[:18].lower()):
        assert hidden not in shown


@pytest.mark.parametrize("way", ["api_key", "access_token", "token_provider"])
@pytest.mark.parametrize("body", [ESCAPED, PERCENT, "x" * 180 + SECRET])
async def test_nor_is_one_that_is_asked_for_a_file(
    way: str, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    talk = answer(error(message=body, status_code=401))
    async with raw_server(talk) as server:  # type: ignore[arg-type]
        with pytest.raises(TranscriptionError) as failed:
            await transcribe(
                bytes(640),
                encoding="pcm_s16le",
                sample_rate=16_000,
                credentials=credentials(way),
                base_url=server.url.replace("ws:", "http:"),
                retries=0,
            )
    assert "HTTP 401" in str(failed.value)
    assert PIECE not in str(failed.value) + caplog.text
    assert quote(PIECE) not in str(failed.value)
    assert PERCENT[:18] not in str(failed.value)


@pytest.mark.parametrize(
    "text", ["two\nlines", "\x1b[2Jgone", "\x1b]0;title\x07", "\ud800", "x" * 5000, "a\u2028b"]
)
@pytest.mark.parametrize("name", ["message", "title", "error_code", "doc_url", "request_id"])
async def test_text_of_a_server_is_one_printable_line(text: str, name: str) -> None:
    events: list[Event] = []
    watch = Watch()
    talk = inside(json.dumps({"type": "error", "message": "No.", "code": 500, name: text}))
    async with raw_server(talk) as server:  # type: ignore[arg-type]
        options = TurnsOptions(base_url=server.url)
        key = credentials("api_key")
        ink = InkTurnsClient(options, key, on_event=events.append, taps=[watch])
        async with ink, asyncio.timeout(20.0):
            ink.send_audio(bytes(640))
            await watch.is_over.wait()
    [message] = [event for event in events if isinstance(event, ErrorMessage)]
    value = getattr(message, name if name != "error_code" else "code")
    assert value.isprintable() and 0 < len(value) <= 300
    [lost] = [event for event in events if isinstance(event, Disconnected)]
    assert lost.reason.isprintable() and len(lost.reason) <= 300


@pytest.mark.parametrize("status", [400, 402])
async def test_so_is_a_rejection(status: int) -> None:
    text = "\x1b[31m" + "x" * 1000
    talk = inside(json.dumps({"type": "error", "message": text, "title": text, "code": status}))
    async with (
        raw_server(talk) as server,  # type: ignore[arg-type]
        InkTurnsClient(TurnsOptions(base_url=server.url), credentials("api_key")) as ink,
    ):
        with pytest.raises(RejectedError) as rejected:
            async for _ in ink:
                pass
    assert str(rejected.value).isprintable() and len(str(rejected.value)) <= 300
