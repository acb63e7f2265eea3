"""How streams end: bounded, complete, and without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import stt

from cartesia_ink_plugins import Resilience
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.net import obstacles
from cartesia_ink_plugins.testing import Close, Cue, InkServer, Script, Turn
from tests.core.sockets import Peer, raw_server
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Received, paced, transcribe, until
from tests.livekit.outages import unused_url

ROOM = AudioFormat(sample_rate=ROOM_RATE)
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fail if a task survives what happens inside."""
    before = asyncio.all_tasks()
    yield
    await until(lambda: not asyncio.all_tasks() - before)


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Accept connections and never say a word."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def errors_of_a_turn(make_ink: MakeSTT, fault: Close | str) -> list[stt.STTError]:
    """Let the server send something in mid-turn; no word may be lost. Return what was told."""
    script = Script("One two three four.", cues=[Cue(0.8, fault, connection=0)])
    errors: list[stt.STTError] = []
    async with InkServer(script) as server:
        recogniser = make_ink(server.url)
        recogniser.on("error", errors.append)
        received = await transcribe(recogniser, script.audio(ROOM) + ROOM.silence(0.5))
    assert received.texts(FINAL) == script.transcripts
    return errors


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


class TestClosing:
    async def test_in_mid_turn_it_leaves_nothing(self, make_ink: MakeSTT) -> None:
        script = Script("I will not be able to finish this.")
        async with InkServer(script) as server, nothing_left():
            async with make_ink(server.url).stream() as stream:
                async for frame in paced(script.audio(ROOM)[: ROOM.size(1.5)]):
                    stream.push_frame(frame)
            assert server.connections[0].transcripts in ([], [script.transcripts[0]])

    async def test_during_a_handshake_that_hangs_it_leaves_nothing(self, make_ink: MakeSTT) -> None:
        async with (
            silent_server() as url,
            nothing_left(),
            asyncio.timeout(30.0),
            make_ink(url).stream() as stream,
        ):
            async for frame in paced(ROOM.silence(0.2)):
                stream.push_frame(frame)

    async def test_before_the_stream_ever_ran_it_leaves_nothing(self, make_ink: MakeSTT) -> None:
        async with nothing_left():
            await make_ink("http://127.0.0.1:9").stream().aclose()

    @pytest.mark.parametrize("prewarmed", [True, False])
    async def test_the_stt_closes_its_streams_or_what_was_prewarmed(
        self, make_ink: MakeSTT, prewarmed: bool
    ) -> None:
        async with InkServer(Script()) as server, nothing_left():
            recogniser = make_ink(server.url)
            if prewarmed:
                recogniser.prewarm()
            else:
                stream = recogniser.stream()
                async for frame in paced(ROOM.silence(0.1)):
                    stream.push_frame(frame)
            await until(lambda: server.connections)
            await recogniser.aclose()
            await until(lambda: not any(c.is_open for c in server.connections))

    async def test_it_can_be_closed_twice(self, make_ink: MakeSTT) -> None:
        async with InkServer(Script()) as server:
            stream = make_ink(server.url).stream()
            async for frame in paced(ROOM.silence(0.1)):
                stream.push_frame(frame)
            await stream.aclose()
            await stream.aclose()


class TestEndOfInput:
    async def test_in_an_outage_the_last_words_come_when_the_server_returns(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("These are my last words.")
        url = await unused_url()
        received = Received()
        async with make_ink(url).stream() as stream:
            async for frame in paced(script.audio(ROOM)):
                stream.push_frame(frame)
            stream.end_input()
            async with InkServer(script, port=port_of(url)):
                async for event in stream:
                    received.events.append(event)
        assert received.texts(FINAL) == script.transcripts

    async def test_in_an_outage_without_end_the_stream_ends_all_the_same(
        self, make_ink: MakeSTT
    ) -> None:
        recogniser = make_ink(await unused_url(), resilience=Resilience(drain_timeout=0.3))
        errors: list[stt.STTError] = []
        recogniser.on("error", errors.append)
        async with asyncio.timeout(30.0):
            await transcribe(recogniser, ROOM.silence(0.3))
        assert errors
        assert all(error.recoverable for error in errors)

    async def test_the_open_turn_is_given_when_the_server_says_no_more(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script(Turn("So long.", after=0.1))
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
        assert received.texts(FINAL) == script.transcripts


class TestTrouble:
    @pytest.mark.parametrize(
        "messages",
        [
            pytest.param(['{"type":"turn.update"}'], id="field missing"),
            pytest.param(["not json"], id="no JSON"),
            pytest.param(['{"type":"turn.wonder","transcript":"?"}'], id="unknown"),
            pytest.param([b"\x00\x01"], id="binary"),
            pytest.param(['{"type":"turn.resume"}'], id="out of order"),
        ],
    )
    async def test_strange_messages_do_no_harm(
        self, make_ink: MakeSTT, messages: list[Any]
    ) -> None:
        script = Script("Hello there.", cues=[Cue(0.6, *messages)])
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
        assert received.texts(FINAL) == script.transcripts

    async def test_words_without_a_start_are_not_lost(self, make_ink: MakeSTT) -> None:
        cues = [
            Cue(0.2, '{"type":"turn.update","transcript":"Hello"}'),
            Cue(0.4, '{"type":"turn.end","transcript":"Hello."}'),
        ]
        async with InkServer(Script(cues=cues)) as server:
            received = await transcribe(make_ink(server.url), ROOM.silence(0.6))
        assert received.texts(FINAL) == ["Hello."]
        assert received.events[0].type is stt.SpeechEventType.START_OF_SPEECH

    @pytest.mark.parametrize("code", [1006, 1011, 1012])
    async def test_a_drop_is_told_as_recoverable_and_loses_no_word(
        self, make_ink: MakeSTT, code: int
    ) -> None:
        errors = await errors_of_a_turn(make_ink, Close(code))
        assert [error.recoverable for error in errors] == [True]

    async def test_an_error_of_the_server_is_told_and_loses_no_word(
        self, make_ink: MakeSTT
    ) -> None:
        broken = '{"type":"error","status_code":500,"title":"Oops","message":"Try again."}'
        errors = await errors_of_a_turn(make_ink, broken)
        assert any("Try again." in str(error.error) for error in errors)
        assert all(error.recoverable for error in errors)

    async def test_what_cannot_work_is_told_once_as_recoverable(
        self, make_ink: MakeSTT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def redirect(peer: Peer) -> None:
            await peer.read_request()
            peer.answer("302 Found")

        monkeypatch.setattr(obstacles, "TELL_AFTER", 0.01)
        errors: list[stt.STTError] = []
        async with raw_server(redirect) as server:
            recogniser = make_ink(server.url)
            recogniser.on("error", errors.append)
            stream = recogniser.stream()
            frame = rtc.AudioFrame(ROOM.silence(0.05), ROOM_RATE, 1, ROOM_RATE // 20)
            async with asyncio.timeout(60):
                while len(errors) < 5:  # without audio there is nothing to connect for
                    stream.push_frame(frame)
                    await asyncio.sleep(0.05)
            await stream.aclose()
        told = [str(error.error) for error in errors if "check base_url" in str(error.error)]
        assert len(told) == 1
        assert "HTTP 302 redirects" in told[0]
        assert all(error.recoverable for error in errors)

    async def test_audio_that_is_given_up_is_told(self, make_ink: MakeSTT) -> None:
        errors: list[stt.STTError] = []
        resilience = Resilience(replay_buffer_seconds=0.5, drain_timeout=0.2)
        recogniser = make_ink(await unused_url(), resilience=resilience)
        recogniser.on("error", errors.append)
        await transcribe(recogniser, Script("One two three four.").audio(ROOM))
        assert any("could not be transcribed" in str(error.error) for error in errors)


class TestFallback:
    async def test_it_steps_aside_when_refused_and_comes_back(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        url = await unused_url()
        changes: list[bool] = []
        async with InkServer(script) as second:
            adapter = stt.FallbackAdapter([make_ink(url), make_ink(second.url)])
            adapter.on("stt_availability_changed", lambda event: changes.append(event.available))
            pcm = ROOM.silence(0.5) + script.audio(ROOM)
            async with InkServer(script, port=port_of(url), api_keys=["another"]):
                received = await transcribe(adapter, pcm)
                assert received.texts(FINAL) == script.transcripts
            assert changes == [False]
            async with InkServer(script, port=port_of(url)) as first:
                # The adapter tries the first one beside the second until it hears something.
                await transcribe(adapter, pcm + ROOM.silence(0.5))
                await until(lambda: changes == [False, True])
                count = len(second.connections)
                received = await transcribe(adapter, pcm)
                assert received.texts(FINAL) == script.transcripts
                assert len(second.connections) == count
                assert first.connections
            await adapter.aclose()
