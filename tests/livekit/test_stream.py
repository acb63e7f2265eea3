"""A bare stream against the local server: what goes in, what comes out, what it costs."""

from __future__ import annotations

import asyncio
import logging
import operator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIStatusError, LanguageCode, Plugin, stt
from livekit.agents.metrics import STTMetrics

import cartesia_ink_plugins
from cartesia_ink_plugins import Resilience
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.testing import ConnectionRecord, InkServer, Script, Turn
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, paced, transcribe, until

START = stt.SpeechEventType.START_OF_SPEECH
INTERIM = stt.SpeechEventType.INTERIM_TRANSCRIPT
PREFLIGHT = stt.SpeechEventType.PREFLIGHT_TRANSCRIPT
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT
END = stt.SpeechEventType.END_OF_SPEECH
USAGE = stt.SpeechEventType.RECOGNITION_USAGE

ROOM = AudioFormat(sample_rate=ROOM_RATE)


def sent(server: InkServer, number: int = 0) -> ConnectionRecord:
    return server.connections[number]


def frame_of(seconds: float) -> rtc.AudioFrame:
    pcm = ROOM.silence(seconds)
    return rtc.AudioFrame(pcm, ROOM_RATE, 1, len(pcm) // 2)


class Lengths:
    """An engine that says nothing, and measures each message: seconds of audio."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def open(self, format: AudioFormat, *_: object, **__: object) -> Lengths:
        self._format = format
        return self

    def receive_audio(self, pcm: bytes) -> None:
        self.seconds.append(self._format.seconds(len(pcm)))

    def configure(self, settings: object) -> None:
        """There is nothing to configure."""

    async def close(self) -> None:
        """Nothing is held back."""

    def abort(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""


class TestWords:
    async def test_every_turn_is_one_final_between_its_start_and_its_end(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.", "A table ... for two.")
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
        assert received.texts(FINAL) == script.transcripts
        framing = [e.type for e in received.events if e.type in (START, FINAL, END)]
        assert framing == [START, FINAL, END] * 2

    async def test_a_pause_inside_a_turn_begins_a_reply_and_keeps_it_until_there_are_words(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("A table ... for two.")
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
        told = [(e.type, e.alternatives[0].text) for e in received.events if e.alternatives]
        begun = told.index((PREFLIGHT, "A table"))
        assert told[begun + 1] == (INTERIM, "A table")
        assert (PREFLIGHT, "A table for two.") in told[begun + 2 :]
        assert told[-1] == (FINAL, "A table for two.")

    async def test_noise_has_no_final_but_an_end(self, make_ink: MakeSTT) -> None:
        script = Script(Turn(noise=0.5), "Hello.")
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
        framing = [e.type for e in received.events if e.type in (START, FINAL, END)]
        assert framing == [START, END, START, FINAL, END]

    async def test_speech_times_are_the_callers_own(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
        [(begin, end)] = script.spans
        off = 0.1 + received.recorded.lag
        spoke_for = received.recorded.at(end) - received.recorded.at(begin)
        final = received.of(FINAL)[0].alternatives[0]
        assert final.start_time == pytest.approx(begin, abs=off)
        assert final.end_time == pytest.approx(end, abs=off)
        started, stopped = (
            received.of(START)[0].speech_start_time,
            received.of(END)[0].speech_end_time,
        )
        assert started is not None
        assert stopped is not None
        assert stopped - started == pytest.approx(spoke_for, abs=off)

    async def test_events_name_the_request_and_the_turn(self, make_ink: MakeSTT) -> None:
        script = Script("One.", "Two.")
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM))
            request_id = sent(server).request_id
        assert {e.request_id for e in received.events} == {request_id}
        metadata = [e.alternatives[0].metadata or {} for e in received.of(FINAL)]
        assert [(data["request_id"], data["turn"]) for data in metadata] == [
            (request_id, 1),
            (request_id, 2),
        ]


class TestAudio:
    @pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
    async def test_the_rate_that_is_declared_is_the_rate_of_the_frames(
        self, make_ink: MakeSTT, rate: int
    ) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            pcm = script.audio(AudioFormat(sample_rate=rate))
            received = await transcribe(make_ink(server.url), pcm, rate=rate)
            assert sent(server, -1).parameter("sample_rate") == str(rate)
            assert sent(server, -1).audio_seconds == pytest.approx(script.seconds, abs=0.05)
        assert received.texts(FINAL) == script.transcripts

    async def test_a_rate_that_was_asked_for_is_resampled_to(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            await transcribe(make_ink(server.url, sample_rate=16_000), script.audio(ROOM))
            assert sent(server).parameter("sample_rate") == "16000"
            assert sent(server).audio_seconds == pytest.approx(script.seconds, abs=0.1)

    async def test_stereo_is_mixed_down(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        mono = np.frombuffer(script.audio(ROOM), "<i2")
        stereo = np.repeat(mono, 2).tobytes()
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), stereo, channels=2)
            assert sent(server).audio_seconds == pytest.approx(script.seconds, abs=0.05)
        assert received.texts(FINAL) == script.transcripts

    @pytest.mark.parametrize("inverted", [0, 1])
    async def test_channels_that_cancel_one_another_are_transcribed(
        self, make_ink: MakeSTT, inverted: int
    ) -> None:
        script = Script("Hello there.")
        stereo = np.repeat(np.frombuffer(script.audio(ROOM), "<i2"), 2).reshape(-1, 2)
        stereo[:, inverted] *= -1
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), stereo.tobytes(), channels=2)
        assert received.texts(FINAL) == script.transcripts

    async def test_telephone_encodings_are_sent_when_asked_for(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            pcm = script.audio(AudioFormat(sample_rate=8_000))
            recogniser = make_ink(server.url, encoding="pcm_mulaw")
            received = await transcribe(recogniser, pcm, rate=8_000, frame=0.02)
            assert sent(server, -1).parameter("encoding") == "pcm_mulaw"
        assert received.texts(FINAL) == script.transcripts

    async def test_the_last_words_do_not_wait_in_a_chunker(self, make_ink: MakeSTT) -> None:
        """The input ends right behind the last word, in the middle of a frame."""
        script = Script(Turn("So long.", after=0.0))
        async with InkServer(script) as server:
            received = await transcribe(make_ink(server.url), script.audio(ROOM), frame=0.07)
        assert received.texts(FINAL) == script.transcripts

    async def test_every_frame_leaves_by_itself_however_short(self, make_ink: MakeSTT) -> None:
        engine = Lengths()
        async with InkServer(engine) as server, make_ink(server.url).stream() as stream:
            for arrived in [[0.01] * count for count in range(1, 6)]:
                stream.push_frame(frame_of(0.01))
                await until(partial(operator.eq, engine.seconds, arrived))

    async def test_short_frames_can_be_gathered_and_at_the_end_none_stays_behind(
        self, make_ink: MakeSTT
    ) -> None:
        engine = Lengths()
        async with InkServer(engine) as server:
            recogniser = make_ink(server.url, resilience=Resilience(min_message_seconds=0.04))
            async with recogniser.stream() as stream:
                stream.push_frame(frame_of(0.01))
                await until(lambda: engine.seconds)  # Then it is connected: there is no backlog.
                for _ in range(10):
                    await asyncio.sleep(0.01)
                    stream.push_frame(frame_of(0.01))
                stream.end_input()
                assert [event.type async for event in stream] == [USAGE]
        assert sum(engine.seconds) == pytest.approx(0.11)
        assert len(engine.seconds) < 11
        assert max(engine.seconds) <= 0.04

    async def test_a_stream_without_audio_dials_nothing(self, make_ink: MakeSTT) -> None:
        async with InkServer(Script()) as server:
            received = await transcribe(make_ink(server.url), b"")
            assert (received.events, server.connections) == ([], [])


class TestUsage:
    async def test_usage_adds_up_to_the_audio_that_was_sent(self, make_ink: MakeSTT) -> None:
        script = Script("Hello.", Turn("Good bye.", gap=4.0))
        metrics: list[STTMetrics] = []
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            recogniser.on("metrics_collected", metrics.append)
            received = await transcribe(recogniser, script.audio(ROOM))
            arrived = sent(server).audio_seconds
        told = [
            e.recognition_usage.audio_duration for e in received.of(USAGE) if e.recognition_usage
        ]
        assert len(told) > 1, "every five seconds, not once at the end"
        assert sum(told) == pytest.approx(arrived, abs=0.01)
        assert sum(m.audio_duration for m in metrics) == pytest.approx(arrived, abs=0.01)

    async def test_usage_is_complete_when_the_stream_is_closed_in_mid_call(
        self, make_ink: MakeSTT
    ) -> None:
        metrics: list[STTMetrics] = []
        async with InkServer(Script()) as server:
            recogniser = make_ink(server.url)
            recogniser.on("metrics_collected", metrics.append)
            async with recogniser.stream() as stream:
                async for frame in paced(ROOM.silence(0.5)):
                    stream.push_frame(frame)
                await until(lambda: server.connections and sent(server).audio_seconds >= 0.5)
            assert sum(m.audio_duration for m in metrics) == pytest.approx(0.5, abs=0.01)


class TestRefusal:
    @pytest.mark.parametrize("prewarmed", [False, True])
    async def test_a_permanent_refusal_is_an_api_error_that_is_not_retried(
        self, make_ink: MakeSTT, prewarmed: bool
    ) -> None:
        errors: list[stt.STTError] = []
        script = Script("Hello.")
        async with InkServer(script, api_keys=["another"]) as server:
            recogniser = make_ink(server.url)
            recogniser.on("error", errors.append)
            if prewarmed:
                recogniser.prewarm()
                await until(lambda: server.connections)
                await asyncio.sleep(0.05)
            with pytest.raises(ExceptionGroup) as raised:
                await transcribe(recogniser, script.audio(ROOM))
            refusals = raised.value.split(APIStatusError)[0]
            assert refusals is not None
            [refusal] = refusals.exceptions
            assert isinstance(refusal, APIStatusError)
            assert (refusal.status_code, refusal.retryable) == (401, False)
            assert len(server.connections) <= 1
        assert [error.recoverable for error in errors] == [False], "told once, and only that"
        assert "sk_test" not in repr(errors) + str(refusal)


class TestArguments:
    def test_no_key_is_told_at_once(self) -> None:
        with pytest.raises(ValueError, match="api_key"):
            ink.STT()

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"endpoint": "turns", "model": "ink-whisper"}, "model"),
            ({"encoding": "opus"}, "encoding"),
            ({"sample_rate": 0}, "sample_rate"),
            ({"keyterm": ["x"] * 101}, "keyterm"),
            (
                {"turn_start_threshold": 0.5, "turn_eager_end_threshold": 0.6},
                "turn_start_threshold",
            ),
            ({"base_url": "ftp://example.com"}, "base_url"),
            ({"access_token": "t"}, "api_key"),
        ],
    )
    def test_a_wrong_argument_is_named(self, options: dict[str, Any], named: str) -> None:
        with pytest.raises(UsageError, match=named):
            ink.STT(api_key="sk_test", **options)

    def test_what_has_no_meaning_here_is_taken_and_said(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "livekit.plugins.cartesia_ink"):
            ink.STT(api_key="sk_test", audio_chunk_duration_ms=160, http_session=object())
        assert "audio_chunk_duration_ms" in caplog.text
        assert "http_session" in caplog.text

    def test_only_what_was_set_is_sent(self) -> None:
        recogniser = ink.STT(api_key="sk_test", turn_eager_end_threshold=0.7)
        assert (recogniser.model, recogniser.provider) == ("ink-2", "Cartesia")
        assert recogniser.capabilities.keyterms
        assert not recogniser.capabilities.aligned_transcript

    def test_the_plugin_is_registered_with_its_version_and_its_logger(self) -> None:
        [plugin] = [one for one in Plugin.registered_plugins if one.package == ink.__name__]
        assert plugin.title == "cartesia_ink_plugins.livekit"
        assert plugin.version == ink.__version__ == cartesia_ink_plugins.__version__
        assert plugin.logger is logging.getLogger("livekit.plugins.cartesia_ink")

    def test_no_module_logs_under_another_name(self) -> None:
        assert isinstance(ink.__file__, str)
        for path in Path(ink.__file__).parent.glob("*.py"):
            if path.name != "log.py":
                assert "getLogger" not in path.read_text("utf-8"), path.name

    @pytest.mark.parametrize("endpoint", ["turns", "manual"])
    async def test_the_language_of_a_transcript_is_a_code_of_livekits(
        self, make_ink: MakeSTT, endpoint: str
    ) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            recogniser = make_ink(server.url, endpoint=endpoint, language="english")
            received = await transcribe(recogniser, script.audio(ROOM))
        languages = [d.language for event in received.events for d in event.alternatives or ()]
        assert languages
        assert all(isinstance(language, LanguageCode) for language in languages)
        assert set(languages) == {"en"}

    async def test_frames_of_another_rate_in_mid_stream_are_refused(
        self, make_ink: MakeSTT
    ) -> None:
        async with InkServer(Script()) as server, make_ink(server.url).stream() as stream:
            stream.push_frame(rtc.AudioFrame(bytes(960), 24_000, 1, 480))
            with pytest.raises(ValueError, match="sample rate"):
                stream.push_frame(rtc.AudioFrame(bytes(640), 16_000, 1, 320))
