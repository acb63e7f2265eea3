"""`POST /stt`: a whole file in, its words out.

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
from cartesia_ink_plugins.server.validate import Refused, check_model, parse_format

_PIECE = 1 << 16
_BLOCK = 1 << 16  # samples that are decoded at a time
_MAX_PCM = 512 * 2**20  # bytes, 4.6 hours at 16 kHz; a small FLAC of silence may hold years


@dataclass(slots=True)
class _Form:
    """What was posted."""

    file: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    granularities: list[str] = field(default_factory=list)


async def transcribe(
    request: web.Request, record: ConnectionRecord, engine: BatchEngine, rules: Rules
) -> dict[str, Any]:
    """Answer a request whose caller is known.

    Returns:
        The answer, as JSON.

    Raises:
        Refused: Something is missing or wrong.
    """
    if (request.content_length or 0) > rules.max_file_bytes + _PIECE:
        raise _too_large(rules)
    try:
        async with asyncio.timeout(rules.request_timeout):
            form = await _read(request, rules)
    except TimeoutError:
        raise too_slow() from None
    model = check_model(form.fields, rules.batch_models)
    language = language_code(form.fields.get("language"), model)
    if any(name != "word" for name in form.granularities):
        raise Refused("Invalid timestamp granularity", "Only word is supported.")
    if not form.file:
        raise Refused("Missing file", "file is required and must not be empty.")
    format, pcm = await asyncio.to_thread(read_audio, form.file, dict(request.query))
    record.audio_bytes, record.audio_seconds = len(pcm), format.seconds(len(pcm))
    transcript = await engine.transcribe(format, pcm, language)
    return _answer(transcript, record.request_id, with_words="word" in form.granularities)


async def _read(request: web.Request, rules: Rules) -> _Form:
    """Read the form piece by piece, and no more of the file than is allowed."""
    form = _Form()
    if not request.content_type.startswith("multipart/"):
        raise Refused("Invalid body", "The body must be multipart/form-data.")
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
        raise Refused("Invalid body", "The body is not valid multipart/form-data.") from error
    return form


async def _read_file(part: BodyPartReader, rules: Rules) -> bytes:
    data = bytearray()
    while piece := await part.read_chunk(_PIECE):
        data += piece
        if len(data) > rules.max_file_bytes:
            raise _too_large(rules)
    return bytes(data)


def too_slow() -> Refused:
    """The answer to a request that is not whole in time; a new one, for it keeps its frames."""
    return Refused("Request timeout", "The request did not arrive in time.", 408)


def _too_large(rules: Rules) -> Refused:
    size = rules.max_file_bytes // 2**20
    return Refused("File too large", f"file must not be larger than {size} MiB.", 413)


def _answer(transcript: Transcript, request_id: str, *, with_words: bool) -> dict[str, Any]:
    answer = {
        "type": Transcript.type,
        "text": transcript.text,
        "duration": transcript.duration,
        "language": transcript.language,
        "words": encode_word_times(transcript.words) if with_words else None,
        "request_id": request_id,
    }
    return {name: value for name, value in answer.items() if value is not None}


def read_audio(file: bytes, query: Mapping[str, str]) -> tuple[AudioFormat, bytes]:
    """Find the mono audio in a file, or take it for raw audio if the query says so.

    Raises:
        Refused: It is no audio that can be read here.
    """
    if "encoding" in query or "sample_rate" in query:
        format = parse_format(query)
        return format, file[: len(file) - len(file) % format.sample_width]
    try:
        with wave.open(io.BytesIO(file)) as reader:
            if reader.getsampwidth() == 2 and reader.getnchannels() == 1:
                rate, pcm = reader.getframerate(), reader.readframes(reader.getnframes())
                return _format(rate), pcm[: len(pcm) // 2 * 2]
    except (wave.Error, EOFError, RuntimeError):  # of a damaged file it raises all of these
        pass
    return _read_with_soundfile(file)


def _read_with_soundfile(file: bytes) -> tuple[AudioFormat, bytes]:
    unsupported = Refused("Unsupported file", "The file is not audio in a supported format.")
    try:
        import soundfile
    except ImportError:
        raise unsupported from None
    pieces: list[bytes] = []
    try:
        with soundfile.SoundFile(io.BytesIO(file)) as reader:
            format = _format(reader.samplerate)
            left = _MAX_PCM
            while len(samples := reader.read(_BLOCK, dtype="float32", always_2d=True)):
                left -= len(samples) * format.sample_width
                if left < 0:
                    raise Refused("File too long", "file has too many hours of audio.", 413)
                mono = np.nan_to_num(samples, posinf=0.0, neginf=0.0).mean(axis=1)
                pieces.append(format.encode(np.ascontiguousarray(mono)))
    except (RuntimeError, ValueError, TypeError, OSError):
        raise unsupported from None
    return format, b"".join(pieces)


def _format(sample_rate: int) -> AudioFormat:
    """Check the rate that a file claims.

    Raises:
        Refused: It is none of speech.
    """
    if not 1_000 <= sample_rate <= 384_000:
        raise Refused("Unsupported file", f"{sample_rate} Hz is no rate of speech.")
    return AudioFormat(Encoding.PCM_S16LE, sample_rate)
