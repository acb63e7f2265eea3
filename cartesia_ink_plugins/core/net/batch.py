"""Whole files: `POST /stt`.

    transcription = await transcribe("meeting.wav")
    print(transcription.text)

The file is read and sent piece by piece. Needs aiohttp, which the extras `server`, `pipecat` and
`livekit` bring along.

https://docs.cartesia.ai/api-reference/stt/transcribe
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import os
import random
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias
from urllib.parse import urlencode

from cartesia_ink_plugins.core.audio import Encoding
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import TranscriptionError, UsageError, is_permanent
from cartesia_ink_plugins.core.events import Word
from cartesia_ink_plugins.core.json_text import encodable, json_object
from cartesia_ink_plugins.core.log import SessionLog
from cartesia_ink_plugins.core.net.http_errors import (
    decompress,
    explanation,
    retry_after_seconds,
)
from cartesia_ink_plugins.core.options import API_VERSION, DEFAULT_BASE_URL
from cartesia_ink_plugins.core.redaction import Redactor
from cartesia_ink_plugins.core.stream.reconnect import Backoff
from cartesia_ink_plugins.core.validation import (
    insecure_allowed,
    language_code,
    require_encryption,
    validate_name,
    validate_number,
    validate_positive,
    validate_sample_rate,
    validate_version,
    websocket_url,
)
from cartesia_ink_plugins.core.wire import decode_transcript

if TYPE_CHECKING:
    import aiohttp

BATCH_PATH = "/stt"
_PIECE = 1 << 16  # bytes that are read from the file at a time; some network buffers full
_LARGEST_ANSWER = 1 << 24
"""Bytes: a day of speech, each word with its times, makes 12 million."""
_SCHEMES = {"wss": "https", "ws": "http"}

Progress: TypeAlias = Callable[[int, int], None]
AudioSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was said in a file.

    Attributes:
        text: Verbatim.
        words: With times in seconds from the beginning of the file; empty unless asked for.
        duration: Of the audio, in seconds, when the server says so.
        language: As the server says.
        request_id: To quote to Cartesia's support.
    """

    text: str
    words: tuple[Word, ...] = ()
    duration: float | None = None
    language: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, which may be made more than once."""

    url: str
    fields: tuple[tuple[str, str], ...]
    cartesia_version: str
    name: str
    size: int
    timeout: float
    connect_timeout: float
    progress: Progress | None


async def transcribe(
    audio: AudioSource,
    *,
    model: str = "ink-whisper",
    language: str | None = None,
    word_timestamps: bool = False,
    encoding: Encoding | str | None = None,
    sample_rate: int | None = None,
    credentials: Credentials | None = None,
    base_url: str | None = None,
    cartesia_version: str = API_VERSION,
    allow_insecure: bool | None = None,
    timeout: float = 120.0,
    connect_timeout: float = 10.0,
    retries: int = 3,
    progress: Progress | None = None,
    http_session: aiohttp.ClientSession | None = None,
) -> Transcription:
    """Transcribe a whole file.

    Args:
        audio: Path of a file, or its bytes, or an open binary file, which is read from where it
            stands. Formats: flac, m4a, mp3, mp4, mpeg, mpga, oga, ogg, wav, webm, or raw audio.
        model: `ink-whisper` at the time of writing.
        language: ISO 639-1, such as `de`; None leaves it to the server, which takes English.
        word_timestamps: Whether to give the words with their times.
        encoding: One of the six encodings, for raw audio without a header.
        sample_rate: Hz, for raw audio without a header.
        credentials: Who asks; the API key in `CARTESIA_API_KEY` by default.
        base_url: Scheme and host of the API; by default `CARTESIA_BASE_URL` or Cartesia's own.
        cartesia_version: Version of the API.
        allow_insecure: Whether key and audio may go unencrypted to another machine; by default only
            if `CARTESIA_ALLOW_INSECURE` is 1.
        timeout: Seconds without any progress until an attempt is given up; the server may compute
            for as long.
        connect_timeout: Seconds until an attempt to connect is given up.
        retries: How often to try again after a lost connection, 408, 429 or 5xx; as late as told
            in `Retry-After`, after 30 to 45 seconds at the latest.
        progress: Called with the bytes of the file that were sent so far, and their total; begins
            anew with every attempt.
        http_session: Used, and left open, if given.

    Returns:
        What was said.

    Raises:
        TranscriptionError: The server refused the file, or did not answer in spite of the retries.
        UsageError: An argument is wrong, the file cannot be read, or aiohttp is not installed.
    """
    base_url = base_url or os.environ.get("CARTESIA_BASE_URL") or DEFAULT_BASE_URL
    request_url, fields = _address(model, language, encoding, sample_rate, base_url)
    allow_insecure = insecure_allowed(allow_insecure)
    require_encryption(base_url, allow_insecure=allow_insecure)
    if word_timestamps:
        fields.append(("timestamp_granularities[]", "word"))
    validate_version(cartesia_version)
    validate_positive("timeout", timeout, "seconds")
    validate_positive("connect_timeout", connect_timeout, "seconds")
    validate_number("retries", retries, 0, math.inf, "")
    credentials = credentials or Credentials.from_environment()
    with contextlib.ExitStack() as stack:
        file, name, size = _open(audio, stack)
        request = _Request(
            url=request_url,
            fields=tuple(fields),
            cartesia_version=cartesia_version,
            name=name,
            size=size,
            timeout=timeout,
            connect_timeout=connect_timeout,
            progress=progress,
        )
        aiohttp = _aiohttp()
        if http_session is not None:
            return await _with_retries(http_session, request, file, credentials, retries)
        # Proxies are for https, as they are for `wss`.
        through_proxy = request_url.startswith("https:")
        async with aiohttp.ClientSession(trust_env=through_proxy) as session:
            return await _with_retries(session, request, file, credentials, retries)


def _aiohttp() -> Any:
    try:
        import aiohttp
    except ImportError:
        raise UsageError(
            "transcribe: aiohttp is not installed; pip install 'cartesia-ink-plugins[server]'"
        ) from None
    return aiohttp


def _address(
    model: str,
    language: str | None,
    encoding: Encoding | str | None,
    sample_rate: int | None,
    base_url: str,
) -> tuple[str, list[tuple[str, str]]]:
    """Where to post, and the fields of the form beside the file."""
    validate_name("model", model, "ink-whisper")
    fields = [("model", model)]
    code = language_code(language)
    if code:
        fields.append(("language", code))
    query: dict[str, str] = {}
    if encoding is not None or sample_rate is not None:
        if encoding is None or sample_rate is None:
            raise UsageError("encoding, sample_rate: raw audio needs both")
        validate_sample_rate(sample_rate)
        query = {"encoding": Encoding.parse(encoding).value, "sample_rate": str(sample_rate)}
    scheme, _, rest = websocket_url(base_url, BATCH_PATH).partition("://")
    url = f"{_SCHEMES[scheme]}://{rest}"
    return (f"{url}?{urlencode(query)}" if query else url), fields


def _open(audio: AudioSource, stack: contextlib.ExitStack) -> tuple[BinaryIO, str, int]:
    """The file, its name and the size of what is to be sent."""
    if isinstance(audio, bytes | bytearray | memoryview):
        file: BinaryIO = io.BytesIO(audio)
        name, size = "audio", len(audio)
    elif isinstance(audio, str | os.PathLike):
        path = Path(audio)
        try:
            file = stack.enter_context(path.open("rb"))
            size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise UsageError(f"audio: cannot read {path}: {error.strerror}") from None
        name = path.name
    else:
        file, name = audio, Path(str(getattr(audio, "name", "audio"))).name
        try:
            start = file.tell()
            size = file.seek(0, os.SEEK_END) - start
            file.seek(start)
        except (AttributeError, OSError):
            raise UsageError(
                "audio: must be a path, bytes, or a file that can be rewound"
            ) from None
    if size == 0:
        raise UsageError("audio: is empty")
    return file, name, size


async def _with_retries(
    session: aiohttp.ClientSession,
    request: _Request,
    file: BinaryIO,
    credentials: Credentials,
    retries: int,
) -> Transcription:
    """Try until there is an answer that another attempt would not change."""
    log = SessionLog(f"ink-{secrets.token_hex(3)}")
    redact = credentials.redactor()
    backoff = Backoff(random.random)
    loop = asyncio.get_running_loop()
    start = file.tell()
    for attempt in range(retries + 1):
        file.seek(start)
        status, retry_after, body, reason = await _attempt(
            session, request, file, credentials, redact
        )
        if status == 200:
            return _transcription(body, redact)
        if status is not None:
            message = explanation(body or b"", redact)
            reason = f"HTTP {status}" + (f": {message}" if message else "")
            if is_permanent(status) or 300 <= status < 400:
                raise TranscriptionError(reason, status=status)
        if attempt < retries:
            wait = backoff.delay_when_busy(loop.time(), retry_after_seconds(retry_after))
            log.info("transcription failed, trying again in %.1f s: %s", wait, reason)
            await asyncio.sleep(wait)
    raise TranscriptionError(f"{reason} (after {retries + 1} attempts)", status=status)


async def _attempt(
    session: aiohttp.ClientSession,
    request: _Request,
    file: BinaryIO,
    credentials: Credentials,
    redact: Redactor,
) -> tuple[int | None, str | None, bytes | None, str]:
    """Make one attempt.

    Returns:
        Status, Retry-After header and body of the answer; without an answer the status is None and
        the last item says why. The body is None if it is too large or cannot be decompressed.
    """
    aiohttp = _aiohttp()
    boundary = uuid.uuid4().hex
    head, tail = _form(request, boundary)
    token = await credentials.token()
    redact.add(token)
    headers = {
        "Accept-Encoding": "gzip",
        "Cartesia-Version": request.cartesia_version,
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + request.size + len(tail)),
        **credentials.headers(),
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    try:
        async with asyncio.timeout(request.timeout) as patience:
            body = _body(request, file, head, tail, patience)
            async with session.post(
                request.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                auto_decompress=False,  # it has no bound
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=request.connect_timeout),
            ) as response:
                retry_after = response.headers.get("Retry-After")
                return response.status, retry_after, await _read(response), ""
    except aiohttp.ConnectionTimeoutError:
        return None, None, b"", f"no connection within {request.connect_timeout:g} s"
    except TimeoutError:
        return None, None, b"", f"no answer within {request.timeout:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return None, None, b"", f"no connection: {type(error).__name__}"


def _form(request: _Request, boundary: str) -> tuple[bytes, bytes]:
    """What comes before the file, and after it: RFC 7578."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in request.fields
    ]
    file_name = "".join(c if c.isprintable() and c not in '"\\' else "_" for c in request.name)
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode()


async def _body(
    request: _Request, file: BinaryIO, head: bytes, tail: bytes, patience: asyncio.Timeout
) -> AsyncIterator[bytes]:
    """The form, piece by piece; each piece that the network takes is progress."""
    loop = asyncio.get_running_loop()
    yield head
    sent = 0
    while sent < request.size:
        piece = await asyncio.to_thread(file.read, min(_PIECE, request.size - sent))
        if not piece:
            break
        yield piece
        sent += len(piece)
        patience.reschedule(loop.time() + request.timeout)
        if request.progress is not None:
            request.progress(sent, request.size)
    yield tail


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The body of an answer; None if it is too large or cannot be decompressed."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _LARGEST_ANSWER:
            return None
    encoding = ", ".join(response.headers.getall("Content-Encoding", []))
    return decompress(bytes(body), encoding, _LARGEST_ANSWER)


def _transcription(body: bytes | None, redact: Redactor) -> Transcription:
    if body is None:
        limit = _LARGEST_ANSWER >> 20
        raise TranscriptionError(
            f"the answer is larger than {limit} MiB, or cannot be decompressed", status=200
        )
    fields = json_object(body) or {}
    for name in ("language", "request_id"):
        if isinstance(value := fields.get(name), str):
            fields[name] = redact(value)
    transcript = decode_transcript(fields)
    if transcript is None:
        raise TranscriptionError("the answer is not a transcript", status=200)
    return Transcription(
        encodable(transcript.text),
        words=transcript.words,
        duration=transcript.duration,
        language=transcript.language,
        request_id=transcript.request_id,
    )
