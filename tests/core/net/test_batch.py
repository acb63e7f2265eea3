"""Whole files: sent piece by piece, retried where that helps, with errors that name the cause."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import resource
import sys
import wave
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins import (
    Credentials,
    Encoding,
    TranscriptionError,
    UsageError,
    Word,
    transcribe,
)
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Rules, Script

HEADS = [b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Busy", b"HTTP/1.1 100 Continue", b"HTTP/1.1 302 Found"]
HEADERS = [
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"Content-Length: 30",
    b"Content-Length: -1",
    b"Transfer-Encoding: chunked",
    b"Retry-After: Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
    b"Set-Cookie: \xff=\x00; expires=never",
    b"Location: http://[",
    b"Content-Type: \xff",
]
BODIES = [
    b'{"text": "Hello."}',
    b'{"text": 1e999, "words": [{}], "duration": ' + b"9" * 5000 + b"}",
    b'{"text": "\\ud800"}',
    b"12\r\n" + b'{"text": "Hello."}' + b"\r\n0\r\n\r\n",
    gzip.compress(b'{"text": "Hello."}'),
]
SCRIPT = Script("Good evening.", "A table for two ... please.")
TEXT = "".join(SCRIPT.transcripts)
KEY = Credentials(api_key="sk_secret")


def wav(pcm: bytes) -> bytes:
    """A WAV file of 16 kHz, 16 bit, mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(pcm)
    return file.getvalue()


WAV = wav(SCRIPT.audio())


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "évening call.wav"
    path.write_bytes(WAV)
    return path


@pytest.fixture
async def server() -> AsyncIterator[InkServer]:
    async with InkServer(SCRIPT, api_keys=["sk_secret"]) as server:
        yield server


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server that does whatever a test wants."""
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/stt", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class TestAFile:
    async def test_gives_its_text(self, server: InkServer, recording: Path) -> None:
        result = await transcribe(recording, credentials=KEY, base_url=server.url)
        assert result.text == TEXT
        assert result.duration == pytest.approx(SCRIPT.seconds)
        assert result.words == ()
        [record] = server.connections
        assert result.request_id == record.request_id
        assert (record.path, record.status) == ("/stt", 200)

    async def test_gives_words_with_times(self, server: InkServer, recording: Path) -> None:
        result = await transcribe(
            recording, word_timestamps=True, language="en-GB", credentials=KEY, base_url=server.url
        )
        assert "".join(word.word for word in result.words) == TEXT
        assert isinstance(result.words[0], Word)
        assert result.words[0].start == pytest.approx(SCRIPT.spans[0][0], abs=0.05)
        assert result.words[-1].end == pytest.approx(SCRIPT.spans[1][1], abs=0.05)
        assert result.language == "en"

    async def test_may_be_bytes_or_an_open_file(self, server: InkServer) -> None:
        of_bytes = await transcribe(WAV, credentials=KEY, base_url=server.url)
        later = io.BytesIO(b"not audio" + WAV)
        later.seek(9)
        of_file = await transcribe(later, credentials=KEY, base_url=server.url)
        assert of_bytes.text == of_file.text == TEXT

    @pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le", "pcm_mulaw"])
    async def test_may_be_raw_audio(self, server: InkServer, encoding: str) -> None:
        pcm = SCRIPT.audio(AudioFormat(Encoding(encoding), 8000))
        result = await transcribe(
            pcm, encoding=encoding, sample_rate=8000, credentials=KEY, base_url=server.url
        )
        assert result.text == TEXT

    async def test_is_read_and_sent_piece_by_piece(
        self, server: InkServer, recording: Path
    ) -> None:
        class Careful(io.BytesIO):
            largest = 0

            def read(self, size: int | None = -1, /) -> bytes:
                assert size is not None
                assert size >= 0
                self.largest = max(self.largest, size)
                return super().read(size)

        file, progress = Careful(WAV), list[tuple[int, int]]()
        await transcribe(
            file,
            credentials=KEY,
            base_url=server.url,
            progress=lambda sent, size: progress.append((sent, size)),
        )
        assert file.largest <= 65_536
        size = len(WAV)
        assert [sent for sent, _ in progress] == [*range(65_536, size, 65_536), size]
        assert {total for _, total in progress} == {size}

    async def test_may_take_longer_than_the_timeout_to_send(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each piece that the network takes is progress; the clock jumps when one is read."""
        loop, late = asyncio.get_running_loop(), 0.0
        real_time = loop.time
        monkeypatch.setattr(loop, "time", lambda: real_time() + late)

        class Slow(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                nonlocal late
                late += 60.0
                return super().read(size)

        async def answer(request: web.Request) -> web.Response:
            assert len(await request.read()) > len(WAV)
            return web.json_response({"type": "transcript", "text": "Yes."})

        async with serving(answer) as url:
            result = await transcribe(
                Slow(WAV), timeout=100.0, retries=0, credentials=KEY, base_url=url
            )
        assert result.text == "Yes."
        assert late > 100.0

    async def test_that_becomes_shorter_while_it_is_sent_is_given_up(self) -> None:
        class Shorter(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(size) if self.tell() < 2 * 65_536 else b""

        async def answer(request: web.Request) -> web.Response:
            await request.read()
            raise AssertionError("the end is missing")

        async with serving(answer) as url:
            with pytest.raises(TranscriptionError, match="no answer"):
                await transcribe(
                    Shorter(WAV), timeout=0.2, retries=0, credentials=KEY, base_url=url
                )

    async def test_is_sent_over_the_session_that_was_given(
        self, server: InkServer, recording: Path
    ) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                await transcribe(
                    recording, credentials=KEY, base_url=server.url, http_session=session
                )
            assert not session.closed

    async def test_a_token_is_sent_in_a_header(self, server: InkServer, recording: Path) -> None:
        async def token() -> str:
            return "sk_secret"

        await transcribe(
            recording, credentials=Credentials(token_provider=token), base_url=server.url
        )
        [record] = server.connections
        assert record.query == []
        assert "authorization" in record.headers


class TestWhatTheServerRejects:
    @pytest.mark.parametrize(
        ("audio", "status", "why"),
        [(b"no audio at all", 400, "supported format"), (b"RIFF\0\0\0\0WAVE", 400, "supported")],
    )
    async def test_an_unsupported_file(
        self, server: InkServer, audio: bytes, status: int, why: str
    ) -> None:
        with pytest.raises(TranscriptionError, match=why) as failure:
            await transcribe(audio, credentials=KEY, base_url=server.url)
        assert failure.value.status == status
        assert len(server.connections) == 1

    async def test_a_file_of_2_gigabytes(self, server: InkServer, tmp_path: Path) -> None:
        with (tmp_path / "huge.wav").open("wb") as huge:
            huge.truncate(2 * 2**30)
        with pytest.raises(TranscriptionError, match="larger than 100 MiB") as failure:
            await transcribe(tmp_path / "huge.wav", credentials=KEY, base_url=server.url)
        assert failure.value.status == 413

    async def test_a_key_that_is_not_valid_is_not_repeated(
        self, server: InkServer, recording: Path
    ) -> None:
        key = Credentials(api_key="sk_wrong")
        with pytest.raises(TranscriptionError, match="HTTP 401") as failure:
            await transcribe(recording, credentials=key, base_url=server.url)
        assert "sk_wrong" not in str(failure.value)
        assert len(server.connections) == 1

    async def test_a_model_it_does_not_have(self, server: InkServer, recording: Path) -> None:
        with pytest.raises(TranscriptionError, match="model"):
            await transcribe(recording, model="ink-2", credentials=KEY, base_url=server.url)


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_a_status_that_may_pass(self, recording: Path, status: int) -> None:
        sizes: list[int] = []

        async def answer(request: web.Request) -> web.Response:
            sizes.append(len(await request.read()))
            if len(sizes) < 3:
                return web.Response(status=status, headers={"Retry-After": "0"})
            return web.json_response({"type": "transcript", "text": " Yes."})

        async with serving(answer) as url:
            result = await transcribe(recording, credentials=KEY, base_url=url)
        assert result.text == " Yes."
        assert len(sizes) == 3
        assert min(sizes) > len(WAV)

    async def test_are_limited_in_number(self, recording: Path) -> None:
        tries = 0

        async def answer(request: web.Request) -> web.Response:
            nonlocal tries
            tries += 1
            return web.json_response(
                {"title": "Sorry", "message": "sk_secret is busy"},
                status=503,
                headers={"Retry-After": "0"},
            )

        async with serving(answer) as url:
            with pytest.raises(TranscriptionError, match=r"HTTP 503: \*\*\* is busy") as failure:
                await transcribe(recording, retries=1, credentials=KEY, base_url=url)
        assert (tries, failure.value.status) == (2, 503)

    async def test_a_connection_that_breaks(self, recording: Path) -> None:
        tries = 0

        async def answer(request: web.Request) -> web.Response:
            nonlocal tries
            tries += 1
            if tries == 1:
                assert request.transport is not None
                request.transport.abort()
            await request.read()
            return web.json_response({"type": "transcript", "text": "Yes."})

        async with serving(answer) as url:
            assert (await transcribe(recording, credentials=KEY, base_url=url)).text == "Yes."

    async def test_no_server_at_the_address(self, recording: Path) -> None:
        with pytest.raises(TranscriptionError, match="no connection") as failure:
            await transcribe(recording, retries=0, credentials=KEY, base_url="http://127.0.0.1:1")
        assert failure.value.status is None

    async def test_a_server_that_never_answers(self, recording: Path) -> None:
        async def never(request: web.Request) -> web.Response:
            await request.read()
            await asyncio.sleep(60)
            raise AssertionError

        async with serving(never) as url:
            with pytest.raises(TranscriptionError, match=r"no answer within 0\.2 s"):
                await transcribe(recording, timeout=0.2, retries=0, credentials=KEY, base_url=url)

    async def test_an_answer_that_is_no_transcript(self, recording: Path) -> None:
        async def nonsense(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(text="<html>")

        async with serving(nonsense) as url:
            with pytest.raises(TranscriptionError, match="not a transcript"):
                await transcribe(recording, credentials=KEY, base_url=url)


class TestWrongArguments:
    async def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot read"):
            await transcribe(tmp_path / "missing.wav", credentials=KEY)

    async def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot read"):
            await transcribe(tmp_path, credentials=KEY)

    async def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "empty.wav").touch()
        for nothing in (b"", io.BytesIO(), tmp_path / "empty.wav"):
            with pytest.raises(UsageError, match="empty"):
                await transcribe(nothing, credentials=KEY)

    async def test_raw_audio_with_half_of_its_format(self) -> None:
        with pytest.raises(UsageError, match="needs both"):
            await transcribe(b"1", encoding="pcm_s16le", credentials=KEY)
        with pytest.raises(UsageError, match="needs both"):
            await transcribe(b"1", sample_rate=8000, credentials=KEY)

    async def test_a_language_that_cannot_be_sent(self) -> None:
        with pytest.raises(UsageError, match="language"):
            await transcribe(b"1", language="en\r\nfr", credentials=KEY)

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("cartesia_version", "2026-03-01\r\nX-Evil: 1"),
            ("model", "x\r\n\r\n--boundary"),
            ("model", "ink\ud83d"),
            ("timeout", float("nan")),
            ("connect_timeout", 0),
            ("retries", -1),
        ],
    )
    async def test_what_cannot_be_sent_or_done(self, argument: str, value: Any) -> None:
        with pytest.raises(UsageError, match=f"^{argument}: "):
            await transcribe(b"1", credentials=KEY, **{argument: value})

    async def test_no_key(self) -> None:
        with pytest.raises(UsageError, match="CARTESIA_API_KEY"):
            await transcribe(b"1")

    async def test_no_aiohttp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "aiohttp", None)
        with pytest.raises(UsageError, match=r"cartesia-ink-plugins\[server\]"):
            await transcribe(b"1", credentials=KEY)


async def test_the_local_servers_limit_can_be_set() -> None:
    async with InkServer(SCRIPT, rules=Rules(max_file_bytes=1000)) as server:
        with pytest.raises(TranscriptionError, match="HTTP 413"):
            await transcribe(bytes(80_000), credentials=KEY, base_url=server.url)


def answering(body: bytes, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, headers=headers)

    return answer


class TestAnAnswer:
    """Whatever a server says is a transcription, or our error."""

    @pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"text": ' * 100_000])
    async def test_that_is_nested_deeply_is_no_transcript(self, nested: bytes) -> None:
        async with serving(answering(nested)) as url:
            with pytest.raises(TranscriptionError, match=r"^the answer is not a transcript$"):
                await transcribe(WAV, credentials=KEY, base_url=url)

    async def test_of_millions_of_objects_is_no_transcript(self) -> None:
        body = gzip.compress(b'{"text": [' + b"[]," * 4_000_000 + b"1]}")
        async with serving(answering(body, **{"Content-Encoding": "gzip"})) as url:
            with pytest.raises(TranscriptionError, match=r"^the answer is not a transcript$"):
                await transcribe(WAV, credentials=KEY, base_url=url)

    async def test_with_half_a_character_can_be_encoded(self) -> None:
        word = {"word": "\ude00", "start": 0, "end": 1}
        body = json.dumps({"text": "a\ud83d", "words": [word]}).encode()
        async with serving(answering(body)) as url:
            result = await transcribe(WAV, credentials=KEY, base_url=url)
        assert (result.text, result.words[0].word) == ("a\ufffd", "\ufffd")

    async def test_may_be_compressed(self) -> None:
        body = gzip.compress(b'{"text": "Hello."}')
        async with serving(answering(body, **{"Content-Encoding": "gzip"})) as url:
            assert (await transcribe(WAV, credentials=KEY, base_url=url)).text == "Hello."

    async def test_that_grows_when_it_is_decompressed_takes_no_memory(self) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        pieces = [packer.compress(b'{"text": "')]
        pieces += [packer.compress(bytes(1 << 20)) for _ in range(600)]
        body = b"".join([*pieces, packer.flush()])
        assert len(body) < 1_000_000
        async with serving(answering(body, **{"Content-Encoding": "gzip"})) as url:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with pytest.raises(TranscriptionError, match=r"^the answer is larger than 16 MiB"):
                await transcribe(WAV, credentials=KEY, base_url=url)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 100_000  # KiB

    async def test_without_end_is_given_up(self) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            await request.read()
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(bytes(1 << 20))
            return response

        async with serving(answer) as url:
            with pytest.raises(TranscriptionError, match=r"^the answer is larger than 16 MiB"):
                await transcribe(WAV, credentials=KEY, base_url=url)

    async def test_with_an_absurd_date_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        async def answer(request: web.Request) -> web.Response:
            await request.read()
            if waits:
                return web.json_response({"text": "Hello."})
            date = "Wed, 21 Oct 2015 07:28:00 +99999999999999999999"
            return web.Response(status=503, headers={"Retry-After": date})

        async with serving(answer) as url:
            with monkeypatch.context() as patch:
                patch.setattr("cartesia_ink_plugins.core.net.batch.asyncio.sleep", sleep)
                result = await transcribe(WAV, credentials=KEY, base_url=url)
        assert result.text == "Hello."
        assert len(waits) == 1

    @given(
        head=st.sampled_from(HEADS) | st.binary(max_size=60),
        headers=st.lists(st.sampled_from(HEADERS) | st.binary(max_size=60), max_size=4),
        body=st.sampled_from(BODIES) | st.binary(max_size=60),
    )
    @settings(max_examples=150, deadline=None)
    def test_of_any_bytes_is_a_transcription_or_our_error(
        self, head: bytes, headers: list[bytes], body: bytes
    ) -> None:
        answer = b"\r\n".join([head, *headers, b"", body])

        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"--\r\n")
                writer.write(answer)
                await writer.drain()
            writer.close()

        async def ask() -> None:
            async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                with contextlib.suppress(TranscriptionError):
                    result = await transcribe(
                        b"audio",
                        credentials=KEY,
                        base_url=f"http://127.0.0.1:{port}",
                        retries=0,
                        timeout=10.0,
                    )
                    assert isinstance(result.text, str)

        asyncio.run(ask())
