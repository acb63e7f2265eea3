"""Everything that reads bytes of others. Each has one promise: a value or our error, nothing else.

A target takes a source of chance, makes an input of it, gives it to what is tested, and says in a
word what came of it. What it raises is a bug.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import json
import math
import tempfile
import wave
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import numpy as np
from websockets.uri import parse_uri
from websockets.utils import accept_key

from cartesia_ink_plugins.cli.recordings import open_recording
from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import InkError, TranscriptionError, UsageError
from cartesia_ink_plugins.core.events import (
    ErrorMessage,
    Malformed,
    Transcript,
    TurnEagerEnd,
    TurnEnd,
    TurnUpdate,
    Unknown,
)
from cartesia_ink_plugins.core.json_text import encodable, json_object
from cartesia_ink_plugins.core.net import batch, http_errors
from cartesia_ink_plugins.core.net.obstacles import obstacle_of_answer
from cartesia_ink_plugins.core.net.websocket import Callbacks, Connection
from cartesia_ink_plugins.core.options import ManualOptions, TurnsOptions
from cartesia_ink_plugins.core.redaction import Redactor
from cartesia_ink_plugins.core.wire import decode
from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.wording import Wording
from cartesia_ink_plugins.server import batch_endpoint, proxy_http
from cartesia_ink_plugins.server.fault_text import parse_fault
from cartesia_ink_plugins.server.frames import Frame, FrameReader, FrameTooLargeError, Opcode
from cartesia_ink_plugins.server.manual_endpoint import ManualConnection
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.tokens import Tokens
from cartesia_ink_plugins.server.turns_endpoint import TurnsConnection
from cartesia_ink_plugins.server.validate import RequestRejectedError
from tests.fuzz import sessions
from tests.fuzz.source import SECRET, Source, lines

Target: TypeAlias = Callable[[Source], str]

_REDACT = Redactor(SECRET)
_LIMIT = 1 << 20  # bytes that may come out of a compressed body
_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


# --- what a server sends -----------------------------------------------------------------------


def message(source: Source) -> str:
    """One message: decoded, and shown in a log, a terminal and another JSON."""
    text = source.line("turns", "turns", "manual", "manual", "hostile")
    if source.chance(0.1):
        text = source.one_of(json.dumps(source.value()), source.text())
    decoded = decode(_REDACT.message(source.blob() if source.chance(0.05) else text))
    shown = repr(decoded)
    shown.encode()
    assert SECRET not in shown, "a secret is shown"
    match decoded:
        case Transcript():
            times = [(word.start, word.end) for word in decoded.words]
            json.dumps([decoded.duration, times], allow_nan=False)
        case TurnUpdate() | TurnEagerEnd() | TurnEnd():
            json.dumps([decoded.transcript, dict(decoded.extra)], ensure_ascii=False).encode()
        case ErrorMessage():
            for line in (decoded.message, decoded.title, decoded.code, decoded.request_id):
                assert line is None or (line.isprintable() and len(line) <= 300)
        case Malformed() | Unknown():
            assert shown.isprintable() and len(shown) <= 400
        case _:
            pass
    return type(decoded).__name__


def json_of_others(source: Source) -> str:
    """JSON as bytes, in any encoding."""
    text = json.dumps(source.one_of(source.fields(), source.value()), ensure_ascii=False)
    encoding = source.one_of("utf-8", "utf-16", "utf-32")
    data = text.encode(encoding, source.one_of("replace", "surrogatepass", "ignore"))
    if source.chance(0.3):
        data = source.damaged(data)
    fields = json_object(data)
    json.dumps(encodable(fields), ensure_ascii=False).encode()
    return "object" if fields is not None else "none"


def answer(source: Source) -> str:
    """An answer to the upgrade."""
    headers = dict(source.fields()) | {"retry-after": source.line("hostile")}
    named = {name: str(value) for name, value in headers.items()}
    named |= {"location": source.text(), "x-request-id": source.one_of(SECRET, source.text())}
    text = source.one_of(source.line("turns", "hostile"), json.dumps(source.value()))
    body = text.encode(source.one_of("utf-8", "utf-16"), "replace")
    read = http_errors.read_answer(named, source.one_of(body, source.damaged(body)), _REDACT)
    assert SECRET not in repr(read), "a secret is shown"
    assert read.message.isprintable() and len(read.message) <= 200
    assert read.retry_after is None or 0 <= read.retry_after < math.inf
    obstacle = obstacle_of_answer(source.choice((200, 301, 407, 503)), named)
    assert obstacle is None or obstacle.reason.isprintable()
    return "API error" if read.is_api_error else "other"


def retry_after(source: Source) -> str:
    """A Retry-After header: seconds, a date, or anything."""
    text = source.one_of(
        source.line("hostile"),
        source.text(),
        str(source.value()),
        source.damaged(b"Wed, 21 Oct 2015 07:28:00 +0100").decode("latin-1"),
    )
    seconds = http_errors.retry_after_seconds(text)
    assert seconds is None or 0 <= seconds < math.inf
    return "none" if seconds is None else "seconds"


def compressed(source: Source) -> str:
    """A compressed body, which may be a bomb."""
    plain = source.blob(2000)
    if source.chance(0.1):
        plain = bytes(source.choice((_LIMIT, _LIMIT + 1, 4 * _LIMIT)))
    packed = gzip.compress(plain) if source.chance(0.5) else zlib.compress(plain)
    if source.chance(0.4):
        packed = source.damaged(packed)
    encoding = source.one_of("gzip", "deflate", "", "br", "gzip, gzip", source.text())
    content = http_errors.decompress(packed, encoding, _LIMIT)
    assert content is None or len(content) <= _LIMIT
    return "none" if content is None else "content"


def transcription(source: Source) -> str:
    """The body of an answer to `transcribe`."""
    text = source.line("manual", "manual", "hostile")
    if source.chance(0.2):
        text = json.dumps(source.fields())
    body = text.encode(errors="replace")
    try:
        read = batch._transcription(None if source.chance(0.05) else body, _REDACT)
    except TranscriptionError:
        return "our error"
    repr(read).encode()
    read.text.encode()
    return "text"


class _Transport:
    """What a connection writes to; nobody reads it."""

    def __init__(self) -> None:
        self.is_closed = False

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        return None


def byte_stream(source: Source) -> str:
    """What a socket may bring in place of an answer and of frames."""
    return asyncio.run(_byte_stream(source))


async def _byte_stream(source: Source) -> str:
    told: list[str] = []

    def note(kind: str) -> Callable[..., None]:
        return lambda *_: told.append(kind)

    connection = Connection(
        "ws://ink.example/stt",
        {},
        Callbacks(
            on_open=note("open"),
            on_reject=note("reject"),
            on_message=note("message"),
            on_pong=note("pong"),
            on_read=note("read"),
            on_writable=note("writable"),
            on_lost=note("lost"),
        ),
    )
    transport: Any = _Transport()
    connection._protocol.key = _KEY
    connection.connection_made(transport)
    for piece in source.cut(_bytes_of_a_server(source)):
        connection.data_received(piece)
        if transport.is_closed:
            break
    connection.eof_received()
    connection.connection_lost(None)
    ends = [kind for kind in told if kind in ("reject", "lost")]
    assert len(ends) == 1, f"the end was reported {len(ends)} times"
    assert told[-1] == ends[0], "something was reported after the end"
    return "open" if "open" in told else ends[0]


def _bytes_of_a_server(source: Source) -> bytes:
    """An answer to the upgrade, right in most cases, and frames."""
    status = lines("http")[0] if source.chance(0.7) else source.choice(lines("http"))
    head = [status, "Upgrade: websocket", "Connection: Upgrade"]
    head.append(f"Sec-WebSocket-Accept: {accept_key(_KEY)}")
    if source.chance(0.3):
        head += [source.line("headers") for _ in range(source.randrange(4))]
    answer = "\r\n".join([*head, "", ""]).encode(errors="replace")
    if source.chance(0.15):
        answer = source.damaged(answer)
    frames = b"".join(
        source.frame(source.line("turns", "hostile").encode(errors="replace")[:5000])
        if source.chance(0.8)
        else source.blob()
        for _ in range(source.randrange(12))
    )
    return answer + (source.damaged(frames) if source.chance(0.2) else frames)


# --- what an application gives -----------------------------------------------------------------


def options(source: Source) -> str:
    """Options of any type."""
    kind = source.one_of(TurnsOptions, ManualOptions)
    names = ("model", "base_url", "cartesia_version", "encoding", "sample_rate", "keyterms")
    given: dict[str, Any] = {source.choice(names): source.one_of(source.value(), source.text())}
    try:
        url = kind(**given).url()
    except UsageError as error:
        str(error).encode()
        return "our error"
    uri = parse_uri(url)
    sent = uri.host.encode("idna").decode() + uri.resource_name
    assert sent.isascii() and sent.isprintable()
    return "url"


def audio(source: Source) -> str:
    """Audio of any bytes in any encoding."""
    encoding = source.choice(tuple(Encoding))
    format = AudioFormat(encoding, source.one_of(8_000, 16_000, 48_000))
    data = source.randbytes(source.randrange(4000))
    whole = data[: len(data) - len(data) % format.sample_width]
    with np.errstate(all="ignore"):
        samples = format.decode(whole)
        format.encode(samples)
    assert len(samples) * format.sample_width == len(whole)
    return encoding.value


# --- what a client sends to the local server ---------------------------------------------------


def frames(source: Source) -> str:
    """What the fault proxy reads."""
    reader, count = FrameReader(), 0
    data = b"".join(
        source.frame(source.line("turns", "texts").encode(errors="replace"))
        for _ in range(source.randrange(8))
    )
    try:
        for piece in source.cut(source.damaged(data) if source.chance(0.4) else data):
            for frame in reader.feed(piece):
                count += 1
                assert len(frame.payload) == frame.size
                proxy_http.message_type(frame)
                proxy_http.message_request_id(frame)
    except FrameTooLargeError:
        return "too large"
    return "frames" if count else "none"


def deep_frame(source: Source) -> str:
    """JSON of any shape in a frame that is whole."""
    payload = source.one_of(
        source.line("turns").encode(errors="replace"),
        json.dumps(source.fields()).encode(),
        b"[" * 100_000,
        source.blob(),
    )
    frame = Frame(Opcode.TEXT, payload, 0)
    return "type" if proxy_http.message_type(frame) else "none"


def request_head(source: Source) -> str:
    """The head of a request to the fault proxy."""
    query = source.line("queries")
    target = source.one_of("/stt/turns/websocket?", "http://[", "/", "") + query
    head = f"GET {target} HTTP/1.1\r\n{source.line('headers')}\r\n\r\n".encode(errors="replace")
    if source.chance(0.4):
        head = source.damaged(head)
    assert proxy_http.audio_format(head).byte_rate > 0
    assert b"Host: ink" in proxy_http.upstream_head(head, "ink")
    return "head"


def server_connection(source: Source) -> str:
    """A connection to the local server, of either endpoint, without IO."""
    sent: list[Any] = []
    query = parse_qsl(source.line("queries")) if source.chance(0.3) else _QUERY
    record = ConnectionRecord(number=0, request_id="r", path="/", query=query, headers={})
    kind = source.one_of(TurnsConnection, ManualConnection)
    rules = Rules(
        reject_text=source.chance(0.5),
        overload_seconds=source.one_of(None, 10.0),
        extra_fields=source.chance(0.5),
    )
    connection: Any = kind(
        record, _SCRIPT.engine(), rules, source.one_of("", "2026-03-01", "x"), sent.extend
    )
    connection.start(0.0)
    for step in range(source.randrange(10)):
        if source.chance(0.5):
            connection.receive_audio(source.one_of(source.blob(), bytes(3200)), step * 0.1)
        else:
            connection.receive_text(source.one_of(source.line("texts"), source.text()))
    connection.abort()
    for item in sent:
        if isinstance(item, str):
            assert isinstance(json.loads(item), dict)
    return "refused" if record.client_error else "accepted"


_QUERY = [("model", "ink-2"), ("encoding", "pcm_s16le"), ("sample_rate", "16000")]
_SCRIPT = Script("Hello there.")


def token_request(source: Source) -> str:
    """A request for an access token."""
    body = source.line("tokens").encode(errors="replace")
    try:
        Tokens().issue(body, 0.0)
    except RequestRejectedError:
        return "our error"
    return "token"


# --- files and arguments of a command ----------------------------------------------------------


def _wav(seconds: float = 0.1, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(int(16_000 * seconds) * 2 * channels))
    return file.getvalue()


def _flac() -> bytes | None:
    try:
        import soundfile
    except ImportError:
        return None
    file = io.BytesIO()
    soundfile.write(file, np.zeros(2000, np.float32), 16_000, format="FLAC")
    return file.getvalue()


_FILES: Sequence[bytes] = [data for data in (_wav(), _wav(channels=2), _flac()) if data]


def audio_file(source: Source) -> str:
    """A file that is posted to the local server."""
    data = source.choice(_FILES)
    query = source.one_of({}, {}, {"encoding": "pcm_s16le", "sample_rate": source.text()})
    try:
        format, pcm = batch_endpoint.read_audio(
            source.damaged(data) if source.chance(0.9) else data, query
        )
    except RequestRejectedError:
        return "our error"
    assert format.byte_rate > 0
    assert len(pcm) % format.sample_width == 0
    return "audio"


def recording(source: Source) -> str:
    """A file that a command is given; some claim far more than they have."""
    data = source.damaged(source.choice(_FILES))
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(data)
        file.flush()
        try:
            opened = open_recording(Path(file.name))
            size = sum(map(len, itertools.islice(opened.frames(), 2000)))
        except InkError as error:
            str(error).encode(errors="backslashreplace")
            return "our error"
    assert 8_000 <= opened.sample_rate <= 48_000
    assert size % 2 == 0
    return "audio"


def call_recording(source: Source) -> str:
    """A recording of a call, from anywhere; and what is recorded of a message."""
    wording = Wording(RecordOptions("call.ink"))
    message = wording.message(source.line("turns", "manual", "hostile"))
    line = json.dumps({"t": 1.0, "kind": "received", "message": message}, ensure_ascii=False)
    meta = {"format": 1, "epoch": 0, "options": {}, "versions": {}, "text": "full"}
    meta |= {"is_complete": True, "sample_rate": 16_000, "audio": "audio.wav"}
    if source.chance(0.3):
        meta |= source.fields() | {source.choice(tuple(meta)): source.value()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))
        archive.writestr("session.jsonl", line.encode() + b"\n" + source.blob())
        archive.writestr("audio.wav", source.blob())
    data = file.getvalue()
    with tempfile.NamedTemporaryFile(suffix=".ink") as saved:
        saved.write(source.damaged(data) if source.chance(0.5) else data)
        saved.flush()
        try:
            call = read_recording(saved.name)
            repr(call).encode(errors="backslashreplace")
            call.audio()
        except InkError as error:
            str(error).encode(errors="backslashreplace")
            return "our error"
    return "call"


def fault(source: Source) -> str:
    """A fault in one line of text."""
    try:
        repr(parse_fault(source.line("faults")))
    except UsageError as error:
        str(error).encode(errors="backslashreplace")
        return "our error"
    return "fault"


def script(source: Source) -> str:
    """A script in JSON."""
    text = source.line("scripts")
    try:
        Script.from_json(text)
    except InkError:
        return "our error"
    return "script"


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        message,
        json_of_others,
        answer,
        retry_after,
        compressed,
        transcription,
        byte_stream,
        sessions.turns,
        sessions.manual,
        options,
        audio,
        frames,
        deep_frame,
        request_head,
        server_connection,
        token_request,
        audio_file,
        recording,
        call_recording,
        fault,
        script,
    )
}
