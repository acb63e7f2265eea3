"""Options that change in mid-call, keyterms of the session, and connections that are warm."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, APIConnectOptions, llm, stt
from livekit.agents.metrics import STTMetrics

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.livekit import client_pool
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Llm, call, paced, transcribe, until

ROOM = AudioFormat(sample_rate=ROOM_RATE)
ONCE = APIConnectOptions(max_retry=0)


class Detector(Llm):
    """Finds one term, as the session asks its LLM to."""

    def __init__(self, term: str) -> None:
        super().__init__()
        self._term = term

    def chat(self, *, chat_ctx: llm.ChatContext, **options: Any) -> llm.LLMStream:
        found = {"pending": [], "confirm": [self._term], "remove": []}
        return Found(json.dumps(found), self, chat_ctx=chat_ctx, tools=[], conn_options=ONCE)


class Found(llm.LLMStream):
    """Calls the tool that takes the terms."""

    def __init__(self, arguments: str, owner: llm.LLM[Any], **options: Any) -> None:
        self._call = llm.FunctionToolCall(
            name="record_keyterms", arguments=arguments, call_id="call"
        )
        super().__init__(owner, **options)

    async def _run(self) -> None:
        delta = llm.ChoiceDelta(role="assistant", tool_calls=[self._call])
        self._event_ch.send_nowait(llm.ChatChunk(id="found", delta=delta))


class Newcomer(Agent):
    """Takes the call over."""

    def __init__(self, entered: asyncio.Event) -> None:
        super().__init__(instructions="Answer.")
        self._entered = entered

    async def on_enter(self) -> None:
        self._entered.set()


def keyterms(server: InkServer, number: int) -> list[str]:
    return [value for name, value in server.connections[number].query if name == "keyterm"]


class TestThresholds:
    async def test_they_change_in_mid_call_without_a_new_connection(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.", "Good bye.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            async with call(recogniser) as running:
                speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
                await until(lambda: running.interims)
                recogniser.update_options(turn_eager_end_threshold=0.7, turn_end_timeout_ms=3000)
                await speaking
                await running.answered(2)
            [connection] = server.connections
        [config] = [text for text in connection.received if "config" in text]
        turn = {"eager_end_threshold": 0.7, "end_timeout_ms": 3000}
        assert json.loads(config) == {"type": "config", "turn": turn}

    async def test_they_hold_for_the_next_stream_too(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url, turn_start_threshold=0.9)
            recogniser.update_options(turn_end_threshold=0.2)
            await transcribe(recogniser, script.audio(ROOM))
            connection = server.connections[0]
            assert connection.parameter("turn_start_threshold") == "0.9"
            assert connection.parameter("turn_end_threshold") == "0.2"
            assert connection.parameter("turn_eager_end_threshold") is None

    async def test_a_wrong_order_is_refused_and_changes_nothing(self, make_ink: MakeSTT) -> None:
        recogniser = make_ink("http://127.0.0.1:9", turn_end_threshold=0.4)
        with pytest.raises(UsageError, match="turn_eager_end_threshold"):
            recogniser.update_options(turn_eager_end_threshold=0.3)
        recogniser.update_options(turn_eager_end_threshold=0.5)

    async def test_what_the_server_refuses_is_told_and_the_call_goes_on(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            async with call(recogniser) as running:
                speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
                await until(lambda: running.interims)
                recogniser.update_options(turn_end_timeout_ms=100)
                await until(lambda: running.errors)
                await speaking
                await running.answered(1)
            # The next stream is not opened with what was refused.
            await transcribe(recogniser, ROOM.silence(0.2))
            assert server.connections[-1].parameter("turn_end_timeout_ms") is None
        assert running.user_texts == script.transcripts
        assert all(event.error.recoverable for event in running.errors)
        assert "timeout" in str(running.errors[0].error.error)


class TestKeyterms:
    async def test_those_of_the_session_join_those_of_the_user(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url, keyterm=["Ink"])
            terms: Any = {"keyterms": ["Bella Napoli", "Ink"]}
            async with call(recogniser, stt_context_options=terms) as running:
                await running.microphone.speak(script.audio(ROOM))
                await running.answered(1)
            assert keyterms(server, -1) == ["Ink", "Bella Napoli"]

    async def test_those_that_the_session_detects_or_is_told_later_reach_the_service(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("It is Siobhan.", Turn("At Bella Napoli.", gap=1.0))
        terms: Any = {"keyterm_detection": {"enabled": True, "llm": Detector("Siobhan")}}
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            async with call(recogniser, stt_context_options=terms) as running:
                speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
                await until(lambda: len(server.connections) == 2)
                await speaking
                await running.answered(2)
                running.session.update_options(keyterms=["Napoli"])
                await running.microphone.speak(ROOM.silence(0.5))
                await until(lambda: len(server.connections) == 3)
            assert [keyterms(server, n) for n in range(3)] == [
                [],
                ["Siobhan"],
                ["Napoli", "Siobhan"],
            ]
        assert running.user_texts == [text.lstrip() for text in script.transcripts]

    async def test_they_change_between_two_turns_and_no_word_is_lost(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("My name is Siobhan.", "S I O B H A N.", Turn("Thank you.", gap=0.5))
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            async with call(recogniser) as running:
                speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
                await until(lambda: running.interims)
                # As the session's keyterm detector does it, in the middle of a turn.
                recogniser._update_session_keyterms(["Siobhan"])
                assert len(server.connections) == 1
                await speaking
                await running.answered(3)
            assert [keyterms(server, n) for n in range(len(server.connections))] == [
                [],
                ["Siobhan"],
            ]
        assert running.user_texts == [text.lstrip() for text in script.transcripts]
        assert running.errors == []


class TestWarmth:
    async def test_prewarm_dials_and_the_first_stream_costs_no_handshake(
        self, make_ink: MakeSTT
    ) -> None:
        metrics: list[STTMetrics] = []
        script = Script("Hello there.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            recogniser.on("metrics_collected", metrics.append)
            recogniser.prewarm()
            await until(lambda: server.connections and server.connections[0].sent)
            received = await transcribe(recogniser, script.audio(ROOM))
            assert len(server.connections) == 1
        assert received.events
        acquired = [m for m in metrics if not m.audio_duration]
        assert [(m.acquire_time, m.connection_reused) for m in acquired] == [(0.0, True)]

    async def test_audio_of_another_rate_does_not_take_what_was_prewarmed(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.")
        pcm = script.audio(AudioFormat(sample_rate=16_000))
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            recogniser.prewarm()
            await until(lambda: server.connections and server.connections[0].sent)
            received = await transcribe(recogniser, pcm, rate=16_000)
            rates = [connection.parameter("sample_rate") for connection in server.connections]
            assert rates == ["24000", "16000"]
        assert received.texts(stt.SpeechEventType.FINAL_TRANSCRIPT) == script.transcripts

    @pytest.mark.real_clock("over loopback a handshake takes no virtual time")
    async def test_a_cold_stream_tells_how_long_it_waited(self, make_ink: MakeSTT) -> None:
        metrics: list[STTMetrics] = []
        script = Script("Hello there.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            recogniser.on("metrics_collected", metrics.append)
            await transcribe(recogniser, script.audio(ROOM))
        [acquired] = [m for m in metrics if not m.audio_duration]
        assert acquired.acquire_time
        assert not acquired.connection_reused

    async def test_prewarm_outside_of_an_event_loop_is_harmless(self, make_ink: MakeSTT) -> None:
        recogniser = make_ink("http://127.0.0.1:9")
        await asyncio.to_thread(recogniser.prewarm)

    async def test_clearing_the_users_turn_between_two_turns_costs_no_handshake(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.", Turn("Good bye.", gap=0.5))
        pcm = script.audio(ROOM)
        pause = ROOM.size(script.spans[0][1] + 1.4)
        async with InkServer(script) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(pcm[:pause])
            await running.answered(1)
            running.session.clear_user_turn()
            await running.microphone.speak(pcm[pause:])
            await running.answered(2)
            assert len(server.connections) == 1
        assert running.user_texts == ["Hello there.", "Good bye."]

    async def test_clearing_the_users_turn_in_the_middle_forgets_what_was_said(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Forget all of this.", Turn("Good bye.", gap=0.5))
        pcm = script.audio(ROOM)
        middle = ROOM.size(script.spans[0][1] - 0.2)
        after = ROOM.size(script.spans[0][1] + 1.0)
        async with InkServer(script) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(pcm[:middle])
            await until(lambda: running.interims)
            running.session.clear_user_turn()
            await running.microphone.speak(pcm[after:])
            await running.answered(1)
        assert running.user_texts == ["Good bye."]

    async def test_another_agent_in_mid_call_costs_no_connection(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.", Turn("Good bye.", gap=1.0))
        pcm = script.audio(ROOM)
        pause = ROOM.size(script.spans[0][1] + 1.4)
        # As an account has it whose limit the call has reached.
        rules = Rules(max_streams=1)
        async with InkServer(script, rules=rules) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(pcm[:pause])
            await running.answered(1)
            entered = asyncio.Event()
            running.session.update_agent(Newcomer(entered))
            await entered.wait()
            await running.microphone.speak(pcm[pause:])
            await running.answered(2)
            assert len(server.connections) == 1
        assert running.user_texts == ["Hello there.", "Good bye."]
        assert running.errors == []

    async def test_nothing_is_prewarmed_beside_a_stream(self, make_ink: MakeSTT) -> None:
        async with InkServer(Script()) as server:
            recogniser = make_ink(server.url)
            async with recogniser.stream() as stream:
                stream.push_frame(rtc.AudioFrame(ROOM.silence(0.1), ROOM_RATE, 1, ROOM_RATE // 10))
                await until(lambda: server.connections and server.connections[0].audio_seconds)
                recogniser.prewarm()
                assert recogniser._pool._state().spare is None
                async for frame in paced(ROOM.silence(0.3)):
                    stream.push_frame(frame)
            assert len(server.connections) == 1

    @pytest.mark.parametrize("awaited", [False, True])
    async def test_what_was_prewarmed_waits_only_for_a_stream_that_is_there(
        self, make_ink: MakeSTT, monkeypatch: pytest.MonkeyPatch, awaited: bool
    ) -> None:
        monkeypatch.setattr(client_pool, "_SPARE_TIMEOUT", 0.3)
        async with InkServer(Script()) as server, contextlib.AsyncExitStack() as stack:
            recogniser = make_ink(server.url)
            recogniser.prewarm()
            if awaited:
                stream = await stack.enter_async_context(recogniser.stream())
            await until(lambda: server.connections and server.connections[0].sent)
            if awaited:
                await asyncio.sleep(0.5)  # longer than a spare waits for nobody
                stream.push_frame(rtc.AudioFrame(ROOM.silence(0.1), ROOM_RATE, 1, ROOM_RATE // 10))
                await until(lambda: server.connections[0].audio_seconds)
            else:
                await until(lambda: not server.connections[0].is_open)
            assert len(server.connections) == 1

    async def test_a_session_leaves_no_connection_behind(self, make_ink: MakeSTT) -> None:
        async with InkServer(Script()) as server:
            recogniser = make_ink(server.url)
            recogniser.prewarm()
            async with recogniser.stream() as stream:
                async for frame in paced(ROOM.silence(0.1)):
                    stream.push_frame(frame)
                await until(lambda: server.connections and server.connections[0].audio_seconds)
            await until(lambda: not any(c.is_open for c in server.connections))

    async def test_a_connection_nobody_used_goes_with_the_last_stream(
        self, make_ink: MakeSTT
    ) -> None:
        async with InkServer(Script()) as server:
            recogniser = make_ink(server.url)
            recogniser.prewarm()
            await until(lambda: server.connections and server.connections[0].sent)
            async with recogniser.stream():
                pass
            await until(lambda: not any(c.is_open for c in server.connections))


def in_two_jobs(script: Script, talk: Callable[[ink.STT], Awaitable[None]]) -> None:
    """Talk in two jobs of one process with one STT; each has an event loop of its own."""
    shared: list[ink.STT] = []

    async def job(port: int) -> int:
        async with InkServer(script, port=port) as server:
            if not shared:
                shared.append(ink.STT(api_key="sk_test", base_url=server.url))
            await talk(shared[0])
            # What the next job must not touch: a client that waits in this loop.
            shared[0].prewarm()
            return int(server.url.rpartition(":")[2])

    port = asyncio.run(job(0))
    asyncio.run(job(port))


def test_one_stt_serves_two_jobs_of_one_process() -> None:
    """Nothing of the first job may be used in the second."""
    script = Script("Hello there.")

    async def talk(recogniser: ink.STT) -> None:
        recogniser.prewarm()
        async with call(recogniser) as running:
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
        assert running.user_texts == ["Hello there."]

    in_two_jobs(script, talk)


def test_a_stream_takes_no_connection_that_waits_in_another_job() -> None:
    script = Script("Hello there.")

    async def talk(recogniser: ink.STT) -> None:
        received = await transcribe(recogniser, script.audio(ROOM))
        assert received.texts(stt.SpeechEventType.FINAL_TRANSCRIPT) == ["Hello there."]

    in_two_jobs(script, talk)


@pytest.mark.parametrize("endpoint", ["turns", "manual"])
def test_a_plain_address_of_another_machine_must_be_allowed(
    make_ink: MakeSTT, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARTESIA_ALLOW_INSECURE", raising=False)
    with pytest.raises(UsageError, match="allow_insecure=True"):
        make_ink("http://ink.example", endpoint=endpoint)
    make_ink("http://ink.example", endpoint=endpoint, allow_insecure=True)
    monkeypatch.setenv("CARTESIA_ALLOW_INSECURE", "1")
    make_ink("http://ink.example", endpoint=endpoint)
    with pytest.raises(UsageError):
        make_ink("http://ink.example", endpoint=endpoint, allow_insecure=False)
