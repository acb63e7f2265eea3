"""`POST /stt`: transcribes a whole file.

https://docs.cartesia.ai/api-reference/stt/transcribe
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.events import Transcript
from cartesia_ink_plugins.core.wire import encode_word_times
from cartesia_ink_plugins.server.manual_endpoint import language_code
from cartesia_ink_plugins.server.manual_engine import BatchEngine
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.validate import RequestRejectedError, check_model, parse_format

_CHUNK = 1 << 16  # bytes of the body read at a time
_BLOCK = 1 << 16  # samples decoded at a time
_MAX_PCM = 512 * 2**20  # bytes, 4.6 hours at 16 kHz; a small FLAC of silence may decode to years


@dataclass(slots=True)
class _Form:
    """The posted form."""

    file: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    granularities: list[str] = field(default_factory=list)


async def transcribe(
    request: web.Request, record: ConnectionRecord, engine: BatchEngine, rules: Rules
) -> dict[str, Any]:
    """Answer an authorized request.

    Returns:
        The body of the answer, as JSON.

    Raises:
        RequestRejectedError: A parameter is missing or invalid.
    """
    if (request.content_length or 0) > rules.max_file_bytes + _CHUNK:
        raise _too_large(rules)
    try:
        async with asyncio.timeout(rules.request_timeout):
            form = await _read(request, rules)
    except TimeoutError:
        raise request_timeout() from None
    model = check_model(form.fields, rules.batch_models)
    language = language_code(form.fields.get("language"), model)
    if any(name != "word" for name in form.granularities):
        raise RequestRejectedError("Invalid timestamp granularity", "Only word is supported.")
    if not form.file:
        raise RequestRejectedError("Missing file", "file is required and must not be empty.")
    format, pcm = await asyncio.to_thread(read_audio, form.file, dict(request.query))
    record.audio_bytes, record.audio_seconds = len(pcm), format.seconds(len(pcm))
    transcript = await engine.transcribe(format, pcm, language)
    return _answer(transcript, record.request_id, word_times="word" in form.granularities)


async def _read(request: web.Request, rules: Rules) -> _Form:
    """Read the form in chunks; reject a file that is too large as soon as it is."""
    form = _Form()
    if not request.content_type.startswith("multipart/"):
        raise RequestRejectedError("Invalid body", "The body must be multipart/form-data.")
    try:
        reader = await request.multipart()
        async for part in reader:
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file":
                form.file = await _read_file(part, rules)
            elif part.name in ("timestamp_granularities[]", "timestamp_granularities"):
                form.granularities.append(await part.text())
            elif part.name:
                form.fields[part.name] = await part.text()
    except (ValueError, LookupError, AssertionError, HttpProcessingError) as error:
        raise RequestRejectedError(
            "Invalid body", "The body is not valid multipart/form-data."
        ) from error
    return form


async def _read_file(part: BodyPartReader, rules: Rules) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(_CHUNK):
        data += chunk
        if len(data) > rules.max_file_bytes:
            raise _too_large(rules)
    return bytes(data)


def request_timeout() -> RequestRejectedError:
    """Return a new rejection: a raised one keeps references to its frames."""
    return RequestRejectedError("Request timeout", "The request did not arrive in time.", 408)


def _too_large(rules: Rules) -> RequestRejectedError:
    size = rules.max_file_bytes // 2**20
    return RequestRejectedError("File too large", f"file must not be larger than {size} MiB.", 413)


def _answer(transcript: Transcript, request_id: str, *, word_times: bool) -> dict[str, Any]:
    answer = {
        "type": Transcript.type,
        "text": transcript.text,
        "duration": transcript.duration,
        "language": transcript.language,
        "words": encode_word_times(transcript.words) if word_times else None,
        "request_id": request_id,
    }
    return {name: value for name, value in answer.items() if value is not None}


def read_audio(file: bytes, query: Mapping[str, str]) -> tuple[AudioFormat, bytes]:
    """Decode a file to mono; it is raw audio if the query has an encoding or sample rate.

    Raises:
        RequestRejectedError: The format is not supported.
    """
    if "encoding" in query or "sample_rate" in query:
        format = parse_format(query)
        return format, file[: len(file) - len(file) % format.sample_width]
    try:
        with wave.open(io.BytesIO(file)) as reader:
            if reader.getsampwidth() == 2 and reader.getnchannels() == 1:
                rate, pcm = reader.getframerate(), reader.readframes(reader.getnframes())
                return _format(rate), pcm[: len(pcm) // 2 * 2]
    except (wave.Error, EOFError, RuntimeError):  # all raised for damaged files
        pass
    return _read_with_soundfile(file)


def _read_with_soundfile(file: bytes) -> tuple[AudioFormat, bytes]:
    unsupported = RequestRejectedError(
        "Unsupported file", "The file is not audio in a supported format."
    )
    try:
        import soundfile
    except ImportError:
        raise unsupported from None
    blocks: list[bytes] = []
    try:
        with soundfile.SoundFile(io.BytesIO(file)) as reader:
            format = _format(reader.samplerate)
            left = _MAX_PCM
            while len(samples := reader.read(_BLOCK, dtype="float32", always_2d=True)):
                left -= len(samples) * format.sample_width
                if left < 0:
                    raise RequestRejectedError(
                        "File too long", "file has too many hours of audio.", 413
                    )
                mono = np.nan_to_num(samples, posinf=0.0, neginf=0.0).mean(axis=1)
                blocks.append(format.encode(np.ascontiguousarray(mono)))
    except (RuntimeError, ValueError, TypeError, OSError):
        raise unsupported from None
    return format, b"".join(blocks)


def _format(sample_rate: int) -> AudioFormat:
    """Return the format of 16-bit audio.

    Raises:
        RequestRejectedError: The sample rate is not from 1,000 to 384,000 Hz.
    """
    if not 1_000 <= sample_rate <= 384_000:
        raise RequestRejectedError(
            "Unsupported file", f"{sample_rate} Hz is not a supported sample rate."
        )
    return AudioFormat(Encoding.PCM_S16LE, sample_rate)
