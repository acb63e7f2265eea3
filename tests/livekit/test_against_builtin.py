"""What this plugin does better than LiveKit's own Cartesia plugin, in the same harness.

Every test runs twice, with ours and with the built-in one, which is expected to fail: where it no
longer does, the test fails, and a claim has to be taken back.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import stt
from livekit.agents.metrics import STTMetrics

from cartesia_ink_plugins import Resilience
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnResume, TurnStart
from cartesia_ink_plugins.server.faults import At, Fault, HalfOpen, Silence
from cartesia_ink_plugins.server.proxy import FaultProxy
from cartesia_ink_plugins.testing import Close, Cue, InkServer, Script, Turn
from tests.livekit.conftest import BOTH, MakeSTT
from tests.livekit.harness import ROOM_RATE, Call, call, paced, transcribe, until

ROOM = AudioFormat(sample_rate=ROOM_RATE)
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT


async def converse(
    make: MakeSTT, script: Script, *, turns: int = 1, pcm: bytes = b"", **options: Any
) -> Call:
    """Hold the scripted conversation and hand back what was seen of it."""
    async with InkServer(script) as server, call(make(server.url), **options) as running:
        await running.microphone.speak(pcm or script.audio(ROOM))
        await running.answered(turns)
    return running


class TestReply:
    @BOTH
    async def test_it_is_not_held_back_after_the_turn(
        self, make: MakeSTT, figures: dict[str, float]
    ) -> None:
        """The session's default `min_delay` of 0.5 s is over when the turn ends, or begins then."""
        running = await converse(make, Script("Hello there.", "A table.", "Bye."), turns=3)
        # A busy machine is late now and then; who holds replies back is never early.
        delay = min(running.reply_delays)
        figures["seconds from turn.end to the reply"] = delay
        assert delay < 0.45

    @BOTH
    async def test_delays_in_the_metrics_are_the_true_ones(
        self, make: MakeSTT, request: pytest.FixtureRequest
    ) -> None:
        script = Script("Hello there.")
        running = await converse(make, script)
        metrics = running.user_messages[0].metrics
        started, stopped = map(running.microphone.recorded.at, script.spans[0])
        ours = request.node.callspec.params["make"] == "ink"
        # A machine that stands still in between makes any two times differ.
        off = 0.1 + (running.microphone.recorded.lag if ours else 0.0)
        assert metrics["started_speaking_at"] == pytest.approx(started, abs=off)
        assert metrics["stopped_speaking_at"] == pytest.approx(stopped, abs=off)
        final_after = running.final_at[0] - stopped
        assert metrics["transcription_delay"] == pytest.approx(final_after, abs=off)
        ended_after = running.user_stopped[0] - stopped
        assert metrics["end_of_turn_delay"] == pytest.approx(ended_after, abs=off)

    @BOTH
    async def test_the_same_words_are_asked_once(self, make: MakeSTT) -> None:
        cues = [
            Cue(0.2, TurnStart()),
            Cue(0.4, TurnEagerEnd("Yes")),
            Cue(0.6, TurnEagerEnd("Yes")),
            Cue(0.8, TurnEagerEnd("Yes.")),
            Cue(1.0, TurnEnd("Yes.")),
        ]
        running = await converse(make, Script(cues=cues), pcm=ROOM.silence(1.5))
        assert running.answers.texts == ["Yes"]

    @BOTH
    async def test_a_caller_who_only_seemed_to_go_on_costs_no_second_inference(
        self, make: MakeSTT
    ) -> None:
        cues = [
            Cue(0.2, TurnStart()),
            Cue(0.4, TurnEagerEnd("Yes")),
            Cue(0.6, TurnResume()),
            Cue(0.8, TurnEagerEnd("Yes")),
            Cue(1.0, TurnEnd("Yes")),
        ]
        running = await converse(make, Script(cues=cues), pcm=ROOM.silence(1.5))
        assert running.answers.texts == ["Yes"]

    @BOTH
    async def test_an_empty_turn_has_no_final(self, make: MakeSTT) -> None:
        script = Script(Turn(noise=0.5), "Hello.")
        async with InkServer(script) as server:
            received = await transcribe(make(server.url), script.audio(ROOM))
        assert [text.strip() for text in received.texts(FINAL)] == ["Hello."]


class TestOutage:
    @BOTH
    async def test_a_drop_in_mid_turn_does_not_cut_the_turn(self, make: MakeSTT) -> None:
        words = "I would like to book a table for two at seven."
        script = Script(words, cues=[Cue(1.5, Close(1006), connection=0)])
        pcm = script.audio(ROOM) + ROOM.silence(1.0)
        running = await converse(make, script, pcm=pcm)
        assert running.user_texts == [words]
        assert len(running.speaker.began) == 1

    @BOTH
    async def test_a_half_open_connection_is_noticed(self, make: MakeSTT) -> None:
        """Neither direction delivers data; new connections work."""
        script = Script("Hello.", Turn("Can you still hear me?", gap=1.0))
        pcm = script.audio(ROOM) + ROOM.silence(3.0)
        async with (
            InkServer(script) as server,
            FaultProxy(server.url) as proxy,
            call(make(proxy.url)) as running,
        ):
            speaking = asyncio.create_task(running.microphone.speak(pcm))
            await running.answered(1)
            proxy.inject(HalfOpen())
            await speaking
            await running.answered(2)
        assert running.user_texts == ["Hello.", "Can you still hear me?"]

    @BOTH
    async def test_a_malformed_message_does_not_end_the_hearing(self, make: MakeSTT) -> None:
        script = Script("Hello there.", cues=[Cue(0.6, '{"type":"turn.update"}')])
        running = await converse(make, script)
        assert running.user_texts == ["Hello there."]

    @BOTH
    async def test_an_idle_close_is_no_error(self, make: MakeSTT) -> None:
        script = Script("Hello.", cues=[Cue(2.0, Close(1001), connection=0)])
        running = await converse(make, script, pcm=script.audio(ROOM) + ROOM.silence(0.5))
        assert running.errors == []

    @BOTH
    async def test_an_error_on_an_open_connection_is_told(
        self, make: MakeSTT, patience: float
    ) -> None:
        refusal = '{"type":"error","status_code":400,"title":"Bad request","message":"No."}'
        async with InkServer(Script(cues=[Cue(0.2, refusal)])) as server:
            errors: list[stt.STTError] = []
            recogniser = make(server.url)
            recogniser.on("error", errors.append)
            async with recogniser.stream() as stream:
                async for frame in paced(ROOM.silence(0.2)):
                    stream.push_frame(frame)
                # The built-in one gathers 160 ms before it sends any.
                stream.push_frame(frame)
                stream.push_frame(frame)
                await until(lambda: errors, seconds=patience)

    @BOTH
    async def test_a_server_that_never_closes_does_not_hold_the_stream(
        self, make: MakeSTT, patience: float, request: pytest.FixtureRequest
    ) -> None:
        script = Script("Hello there.")
        ours = request.node.callspec.params["make"] == "ink"
        options = {"resilience": Resilience(drain_timeout=0.5)} if ours else {}
        async with (
            InkServer(script) as server,
            FaultProxy(server.url) as proxy,
            make(proxy.url, **options).stream() as stream,
        ):
            async for frame in paced(script.audio(ROOM)):
                stream.push_frame(frame)
            proxy.inject(HalfOpen())
            stream.end_input()
            async with asyncio.timeout(2 * patience):
                async for _ in stream:
                    pass


class TestAudio:
    @BOTH
    async def test_a_frame_leaves_when_it_comes(self, make: MakeSTT, patience: float) -> None:
        async with InkServer(Script()) as server, make(server.url).stream() as stream:
            frame = rtc.AudioFrame(ROOM.silence(0.05), ROOM_RATE, 1, ROOM_RATE // 20)
            stream.push_frame(frame)
            await until(
                lambda: server.connections and server.connections[0].audio_seconds >= 0.05,
                seconds=patience,
            )

    @BOTH
    async def test_what_had_to_wait_is_not_sent_in_one_burst(self, make: MakeSTT) -> None:
        """Ink buffers about as much as one can speak: 1.7 s are sent in 0.7 s at the earliest."""
        slow = Fault(Silence(2.0), At("connect"))
        async with (
            InkServer(Script(), faults=[slow]) as server,
            make(server.url).stream() as stream,
        ):

            async def arrived(seconds: float) -> float:
                sent = server.connections
                await until(lambda: sent and sent[0].audio_seconds >= seconds)
                return time.monotonic()

            async def speak() -> None:
                async for frame in paced(ROOM.silence(3.5)):
                    stream.push_frame(frame)

            speaking = asyncio.create_task(speak())
            began, caught_up = await arrived(0.1), await arrived(1.8)
            await speaking
        assert caught_up - began > 0.4

    @BOTH
    async def test_stereo_is_understood(self, make: MakeSTT) -> None:
        script = Script("Hello there.")
        stereo = np.repeat(np.frombuffer(script.audio(ROOM), "<i2"), 2).tobytes()
        async with InkServer(script) as server:
            received = await transcribe(make(server.url), stereo, channels=2)
        assert received.texts(FINAL) == script.transcripts

    @BOTH
    async def test_room_audio_is_declared_as_what_it_is(self, make: MakeSTT) -> None:
        async with InkServer(Script()) as server:
            await transcribe(make(server.url), ROOM.silence(0.2))
            assert server.connections[0].parameter("sample_rate") == "24000"


class TestOptions:
    @BOTH
    async def test_a_websocket_url_is_a_base_url(self, make: MakeSTT, patience: float) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            url = server.url.replace("http", "ws", 1)
            async with asyncio.timeout(3 + patience):
                received = await transcribe(make(url), script.audio(ROOM))
        assert received.texts(FINAL) == script.transcripts

    @BOTH
    async def test_the_version_of_the_api_is_the_present_one(self, make: MakeSTT) -> None:
        async with InkServer(Script()) as server:
            await transcribe(make(server.url), ROOM.silence(0.2))
            assert server.connections[0].headers["cartesia-version"] == "2026-03-01"

    @BOTH
    async def test_keyterms_of_the_session_reach_the_service(self, make: MakeSTT) -> None:
        script = Script("Hello.")
        options: Any = {"keyterms": ["Bella Napoli"]}
        async with InkServer(script) as server:
            async with call(make(server.url), stt_context_options=options) as running:
                await running.microphone.speak(script.audio(ROOM))
                await running.answered(1)
            assert server.connections[-1].parameter("keyterm") == "Bella Napoli"

    @BOTH
    async def test_thresholds_change_in_mid_call(self, make: MakeSTT) -> None:
        script = Script("Hello.")
        async with InkServer(script) as server:
            recogniser = make(server.url)
            async with call(recogniser) as running:
                speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
                await until(lambda: running.interims)
                recogniser.update_options(turn_end_threshold=0.2)
                await speaking
                await running.answered(1)
            sent = [json.loads(text) for text in server.connections[0].received]
        assert {"type": "config", "turn": {"end_threshold": 0.2}} in sent

    @BOTH
    async def test_a_whole_recording_is_written_down(self, make: MakeSTT) -> None:
        """Which the framework asks for where an STT stands behind a `StreamAdapter`."""
        script = Script("Hello there.")
        pcm = script.audio(ROOM)
        async with InkServer(script) as server:
            event = await make(server.url).recognize(
                rtc.AudioFrame(pcm, ROOM_RATE, 1, len(pcm) // 2)
            )
        assert event.alternatives[0].text == "Hello there."


class TestConnections:
    @BOTH
    async def test_prewarming_saves_the_handshake(self, make: MakeSTT, patience: float) -> None:
        async with InkServer(Script()) as server:
            make(server.url).prewarm()
            await until(lambda: server.connections, seconds=patience)

    @BOTH
    async def test_clearing_the_users_turn_keeps_the_connection(self, make: MakeSTT) -> None:
        script = Script("Hello there.", Turn("Good bye.", gap=0.5))
        pcm = script.audio(ROOM)
        pause = ROOM.size(script.spans[0][1] + 1.4)
        async with InkServer(script) as server, call(make(server.url)) as running:
            await running.microphone.speak(pcm[:pause])
            await running.answered(1)
            running.session.clear_user_turn()
            await running.microphone.speak(pcm[pause:])
            await running.answered(2)
            assert len(server.connections) == 1

    @BOTH
    async def test_usage_is_told_while_nobody_speaks(self, make: MakeSTT) -> None:
        metrics: list[STTMetrics] = []
        async with InkServer(Script()) as server:
            recogniser = make(server.url)
            recogniser.on("metrics_collected", metrics.append)
            async with recogniser.stream() as stream:
                async for frame in paced(ROOM.silence(5.5)):
                    stream.push_frame(frame)
                assert sum(m.audio_duration for m in metrics) > 4.0
