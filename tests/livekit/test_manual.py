"""`ink.STT(endpoint="manual")`: the session says when speech is over; and files as a whole."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIStatusError,
    LanguageCode,
    stt,
)
from livekit.agents.stt import SpeechEventType

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Final, Interim, Timing
from cartesia_ink_plugins.core.transcripts import Transcript, Word
from cartesia_ink_plugins.livekit import stt as recogniser_module
from cartesia_ink_plugins.livekit.manual_events import ManualSpeechEvents
from cartesia_ink_plugins.livekit.pauses import PauseDetector
from cartesia_ink_plugins.server.script import ScriptEngine
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Ear, Received, call, paced, until

START = SpeechEventType.START_OF_SPEECH
INTERIM = SpeechEventType.INTERIM_TRANSCRIPT
FINAL = SpeechEventType.FINAL_TRANSCRIPT
END = SpeechEventType.END_OF_SPEECH

ROOM = AudioFormat(sample_rate=ROOM_RATE)
EPOCH = 1_000.0


def mapping() -> ManualSpeechEvents:
    return ManualSpeechEvents(language=LanguageCode("en"), offset=2.0, epoch=EPOCH)


class TestMapping:
    def test_words_are_framed_by_a_start_and_an_end(self) -> None:
        events = mapping()
        told = [e.type for spoken in (Interim("One"), Final("One.")) for e in events.of(spoken)]
        assert told == [START, INTERIM, FINAL, END]

    def test_an_empty_final_is_told_because_a_flush_waits_for_it(self) -> None:
        [final] = mapping().of(Final(""))
        assert (final.type, final.alternatives[0].text) == (FINAL, "")

    def test_words_times_ids_and_doubts_are_handed_on(self) -> None:
        timing = Timing(turn=4, position=9.0, speech_start=1_003.0, speech_end=1_005.0)
        spoken = Final(
            " Bonjour",
            is_complete=False,
            words=(Word(" Bonjour", 1.0, 1.5),),
            duration=2.5,
            language="fr",
            timing=timing,
            request_id="r-1",
        )
        start, final, end = mapping().of(spoken)
        assert (start.speech_start_time, end.speech_end_time) == (1_003.0, 1_005.0)
        data = final.alternatives[0]
        assert (data.text, data.language, data.start_time, data.end_time) == (
            " Bonjour",
            "fr",
            3.0,
            5.0,
        )
        assert data.metadata == {
            "request_id": "r-1",
            "turn": 4,
            "position": 9.0,
            "is_complete": False,
            "duration": 2.5,
        }
        assert data.words is not None
        assert [(w, w.start_time, w.end_time) for w in data.words] == [(" Bonjour", 3.0, 3.5)]


class TestFlush:
    async def test_it_gives_one_final_with_all_words(self, make_ink: MakeSTT) -> None:
        script = Script("One two three.", Turn("Four five.", gap=0.5))
        pcm = script.audio(ROOM)
        middle = ROOM.size(script.spans[0][1] + 0.5)
        received = Received()
        async with (
            InkServer(script) as server,
            make_ink(server.url, endpoint="manual").stream() as stream,
        ):
            listening = asyncio.create_task(collect(stream, received))
            for part in (pcm[:middle], pcm[middle:]):
                async for frame in paced(part):
                    stream.push_frame(frame)
                stream.flush()
            stream.end_input()
            await listening
            assert server.connections[0].path == "/stt/websocket"
        texts = [text for text in received.texts(FINAL) if text]
        assert "".join(texts) == "One two three. Four five."
        assert len(texts) == 2

    async def test_it_gives_a_final_even_when_nothing_was_said(self, make_ink: MakeSTT) -> None:
        received = Received()
        async with (
            InkServer(Script()) as server,
            make_ink(server.url, endpoint="manual").stream() as stream,
        ):
            listening = asyncio.create_task(collect(stream, received))
            async for frame in paced(ROOM.silence(0.3)):
                stream.push_frame(frame)
            stream.flush()
            await until(lambda: received.of(FINAL))
            listening.cancel()
        assert received.texts(FINAL) == [""]


class TestPushToTalk:
    @pytest.mark.parametrize(
        "make", ["ink", pytest.param("builtin", marks=pytest.mark.xfail(strict=True))]
    )
    async def test_the_turn_is_committed_in_one_round_trip(
        self, make: str, make_ink: MakeSTT, make_builtin: MakeSTT
    ) -> None:
        script = Script("A table for two, please.")
        pcm = script.audio(ROOM)[: ROOM.size(script.spans[0][1] + 0.1)]
        async with InkServer(script) as server:
            recogniser = (
                make_ink(server.url, endpoint="manual")
                if make == "ink"
                else make_builtin(server.url)
            )
            async with call(recogniser, turn_handling={"turn_detection": "manual"}) as running:
                await running.microphone.speak(pcm)
                began = time.monotonic()
                words = await running.session.commit_user_turn()
                took = time.monotonic() - began
                print(f"\n{make}: committed {took:.3f} s after the button was let go")
                await running.answered(1)
        assert words == "A table for two, please."
        assert took < 1.9, "the session would wait for two seconds"


class TestVad:
    @pytest.mark.parametrize("options", [{"endpoint": "manual"}, {"language": "de"}], ids=str)
    async def test_a_session_that_detects_speech_itself_answers_every_turn(
        self, make_ink: MakeSTT, options: dict[str, str]
    ) -> None:
        script = Script("A table for two.", Turn("Thank you.", gap=1.5))
        async with InkServer(script) as server:
            recogniser = make_ink(server.url, **options)
            session: dict[str, Any] = {"turn_handling": {"turn_detection": "vad"}, "vad": Ear()}
            async with call(recogniser, **session) as running:
                await running.microphone.speak(script.audio(ROOM))
                await running.answered(2)
            [connection] = server.connections
        assert connection.parameter("language") == options.get("language")
        assert running.user_texts == ["A table for two.", "Thank you."]


class TestWithoutFlush:
    """Versions of LiveKit that flush no stream: pauses in the audio end a segment."""

    @pytest.fixture(autouse=True)
    def _cannot_flush(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recogniser_module, "_CAN_FLUSH", False)

    def test_it_is_said_once_and_promised_to_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "livekit.plugins.cartesia_ink"):
            recogniser = ink.STT(api_key="sk_test", endpoint="manual")
            ink.STT(api_key="sk_test")
        [record] = caplog.records
        assert "flushes no stream" in record.getMessage()
        assert not getattr(recogniser.capabilities, "manual_flush", False)

    async def test_every_turn_is_answered_all_the_same(self, make_ink: MakeSTT) -> None:
        script = Script("A table for two.", Turn("Thank you.", gap=1.5))
        async with InkServer(script) as server:
            session: dict[str, Any] = {"turn_handling": {"turn_detection": "vad"}, "vad": Ear()}
            async with call(make_ink(server.url, endpoint="manual"), **session) as running:
                await running.microphone.speak(script.audio(ROOM))
                await running.answered(2)
        assert running.user_texts == ["A table for two.", "Thank you."]

    async def test_so_is_who_turns_the_microphone_off_behind_the_last_word(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("A table for two, please.")
        pcm = script.audio(ROOM)[: ROOM.size(script.spans[0][1] + 0.1)]
        async with InkServer(script) as server:
            recogniser = make_ink(server.url, endpoint="manual")
            async with call(recogniser, turn_handling={"turn_detection": "manual"}) as running:
                await running.microphone.speak(pcm)
                # Longer than the session waits by default, should the machine be busy.
                text = await running.session.commit_user_turn(transcript_timeout=30.0)
                await running.answered(1)
        assert text == "A table for two, please."

    async def test_a_pause_is_told_once_and_noise_is_none(self) -> None:
        script = Script("Hello there.")
        told: list[float] = []
        audio = script.audio(ROOM) + ROOM.silence(2.0)
        size = ROOM.size(0.05)
        pauses = PauseDetector(ROOM, lambda: told.append(position / ROOM.byte_rate))
        for position in range(0, len(audio), size):
            pauses.add(audio[position : position + size])
        pauses.close()
        assert len(told) == 1
        assert 0.4 < told[0] - script.spans[0][1] < 0.8


class TestWholeFiles:
    async def test_recognize_writes_them_down(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.", "Good bye.")
        async with InkServer(script) as server:
            pcm = script.audio(ROOM)
            frame = rtc.AudioFrame(pcm, ROOM_RATE, 1, len(pcm) // 2)
            event = await make_ink(server.url).recognize([frame])
        data = event.alternatives[0]
        assert event.type is FINAL
        assert data.text == "Hello there. Good bye."
        assert data.words
        assert data.end_time == pytest.approx(script.seconds, abs=0.1)

    async def test_the_timeout_does_not_bound_the_computing(self, make_ink: MakeSTT) -> None:
        engine = SlowEngine(Script("Hello there."))
        async with InkServer(engine) as server:
            frame = rtc.AudioFrame(engine.pcm, ROOM_RATE, 1, len(engine.pcm) // 2)
            options = APIConnectOptions(max_retry=3, timeout=0.2)
            event = await make_ink(server.url).recognize([frame], conn_options=options)
            assert len(server.connections) == 1, "one upload"
        assert event.alternatives[0].text == "Hello there."

    async def test_nor_does_that_of_a_fallback_adapter(self, make_ink: MakeSTT) -> None:
        engine = SlowEngine(Script("Hello there."))
        async with InkServer(engine) as slow, InkServer(Script()) as other:
            frame = rtc.AudioFrame(engine.pcm, ROOM_RATE, 1, len(engine.pcm) // 2)
            both = stt.FallbackAdapter(
                [make_ink(slow.url), make_ink(other.url)], attempt_timeout=0.2
            )
            event = await both.recognize([frame])
            assert (len(slow.connections), len(other.connections)) == (1, 0)
            await both.aclose()
        assert event.alternatives[0].text == "Hello there."

    async def test_it_does_bound_the_connecting(self, make_ink: MakeSTT) -> None:
        frame = rtc.AudioFrame(ROOM.silence(0.2), ROOM_RATE, 1, ROOM_RATE // 5)
        options = APIConnectOptions(max_retry=0, timeout=0.3)
        with full_listener() as url, pytest.raises(APIConnectionError, match=r"within 0\.3 s"):
            async with asyncio.timeout(9.0):
                await make_ink(url).recognize([frame], conn_options=options)

    async def test_a_refusal_has_its_status(self, make_ink: MakeSTT) -> None:
        frame = rtc.AudioFrame(ROOM.silence(0.2), ROOM_RATE, 1, ROOM_RATE // 5)
        async with InkServer(Script(), api_keys=["another"]) as server:
            once = APIConnectOptions(max_retry=0)
            with pytest.raises(APIStatusError) as refused:
                await make_ink(server.url).recognize([frame], conn_options=once)
        assert (refused.value.status_code, refused.value.retryable) == (401, False)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"endpoint": "batch"}, "endpoint"),
            ({"turn_end_threshold": 0.2}, "turn_"),
            ({"model": "ink-2", "language": "de"}, "language"),
            ({"model": "ink-whisper", "keyterm": ["Ink"]}, "keyterms"),
        ],
    )
    def test_a_wrong_one_is_named(self, options: dict[str, Any], named: str) -> None:
        with pytest.raises(UsageError, match=named):
            ink.STT(api_key="sk_test", **{"endpoint": "manual", **options})

    def test_other_languages_have_their_model(self) -> None:
        recogniser = ink.STT(api_key="sk_test", endpoint="manual", language="de")
        assert recogniser.model == "ink-whisper"
        assert not recogniser.capabilities.keyterms
        assert recogniser.capabilities.aligned_transcript == "word"

    def test_thresholds_cannot_be_changed_either(self) -> None:
        with pytest.raises(UsageError, match="turn_"):
            ink.STT(api_key="sk_test", endpoint="manual").update_options(turn_end_threshold=0.2)


class SlowEngine(ScriptEngine):
    """Takes its time for a whole file; longer than the timeout of a test."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.pcm = script.audio(ROOM)

    async def transcribe(self, format: AudioFormat, pcm: bytes, language: str) -> Transcript:
        await asyncio.sleep(1.0)
        return await super().transcribe(format, pcm, language)


@contextmanager
def full_listener() -> Iterator[str]:
    """A port whose queue of connections is full: who wants to connect is not answered."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def collect(stream: stt.RecognizeStream, received: Received) -> None:
    async for event in stream:
        received.events.append(event)
