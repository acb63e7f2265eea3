"""`conn_options` are obeyed: when an outage leaves the stream, and what becomes of its audio."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APIStatusError,
    APITimeoutError,
    stt,
)
from livekit.agents.voice.agent_session import SessionConnectOptions

from cartesia_ink_plugins import Resilience
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.livekit.retries import RetryBudget
from cartesia_ink_plugins.server.faults import At, Fault, Silence
from cartesia_ink_plugins.testing import Close, Cue, InkServer, Script, Turn
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Received, call, paced, transcribe, until
from tests.livekit.outages import KINDS, outage_at, unused_url

ROOM = AudioFormat(sample_rate=ROOM_RATE)
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT
START = stt.SpeechEventType.START_OF_SPEECH
TWICE = APIConnectOptions(max_retry=1, timeout=0.5, retry_interval=0.1)
PHRASE = "I would like to book a table for two at seven."
KIND = pytest.mark.parametrize("kind", KINDS)

ERRORS = {
    "connection_refused": (APIConnectionError, None),
    "service_unavailable": (APIStatusError, 503),
    "too_many_requests": (APIStatusError, 429),
    "hung_upgrade": (APITimeoutError, None),
    "closed_at_once": (APIConnectionError, None),
}


@pytest.fixture
def make_ink(make_ink: MakeSTT) -> MakeSTT:
    """Makes our STT, which waits for the last text as long as a busy machine takes."""
    return partial(make_ink, resilience=Resilience(drain_timeout=60.0))


def adapter(*recognisers: stt.STT[Any], **options: Any) -> stt.FallbackAdapter:
    return stt.FallbackAdapter(list(recognisers), **{"attempt_timeout": 0.5, **options})


async def failure_of(recogniser: stt.STT[Any], conn_options: APIConnectOptions) -> APIError:
    """The error that leaves a stream to which somebody speaks."""
    async with (
        asyncio.timeout(30.0),
        recogniser.stream(conn_options=conn_options) as stream,
        asyncio.TaskGroup() as tasks,
    ):

        async def speak() -> None:
            async for frame in paced(ROOM.silence(25.0)):
                stream.push_frame(frame)

        speaking = tasks.create_task(speak())
        with pytest.raises(APIError) as raised:
            async for _ in stream:
                pass
        speaking.cancel()
    return raised.value


class TestBudget:
    """Counted and waited as `RecognizeStream` does: after `max_retry + 1` failures it is over."""

    @pytest.mark.parametrize("most", [0, 1, 3])
    def test_it_is_spent_after_the_last_retry_has_failed(self, most: int) -> None:
        budget = RetryBudget(APIConnectOptions(max_retry=most))
        for _ in range(most):
            budget.delay(0.0)
            assert not budget.is_spent
        budget.delay(0.0)
        assert budget.is_spent

    def test_it_waits_as_the_base_class_does_whatever_a_busy_server_asks(self) -> None:
        options = APIConnectOptions(max_retry=3, retry_interval=5.0)
        budget = RetryBudget(options)
        waits = [budget.delay(0.0), budget.delay_when_busy(0.0, 60.0), budget.delay(0.0)]
        assert waits == [options._interval_for_retry(number) for number in range(3)]

    def test_the_loss_of_a_connection_that_worked_is_no_failure(self) -> None:
        budget = RetryBudget(APIConnectOptions(max_retry=0))
        budget.reset()
        assert budget.delay(0.0) == 0.0
        assert not budget.is_spent
        budget.delay(0.0)
        assert budget.is_spent


class TestFailure:
    @KIND
    async def test_it_leaves_the_stream_after_the_last_attempt(
        self, make_ink: MakeSTT, kind: str
    ) -> None:
        async with KINDS[kind]() as dead:
            recogniser = make_ink(dead.url)
            told: list[stt.STTError] = []
            recogniser.on("error", told.append)
            failure = await failure_of(recogniser, TWICE)
            assert dead.attempts() in (0, 2)
        expected, status = ERRORS[kind]
        assert type(failure) is expected
        assert getattr(failure, "status_code", None) == status
        assert [error.recoverable for error in told] == [True, False]

    @pytest.mark.parametrize("prewarmed", [False, True])
    async def test_no_retry_is_none_also_with_a_connection_that_was_prewarmed(
        self, make_ink: MakeSTT, prewarmed: bool
    ) -> None:
        async with KINDS["hung_upgrade"]() as dead:
            recogniser = make_ink(dead.url)
            if prewarmed:
                recogniser.prewarm()
                await until(dead.attempts)
            once = APIConnectOptions(max_retry=0, timeout=0.3)
            assert type(await failure_of(recogniser, once)) is APITimeoutError
            assert dead.attempts() == 1

    @pytest.mark.parametrize("status", [0, 503, -1], ids=["refused", "503", "hung"])
    async def test_a_connection_that_dies_in_mid_call_is_tried_as_often(
        self, make_ink: MakeSTT, status: int
    ) -> None:
        script = Script("Hello there.")
        async with InkServer(
            script, faults=[outage_at(script.seconds + 0.2, status=status)]
        ) as server:
            recogniser = make_ink(server.url)
            told: list[stt.STTError] = []
            recogniser.on("error", told.append)
            received = Received()
            with pytest.raises(ExceptionGroup) as raised:
                pcm = script.audio(ROOM) + ROOM.silence(20.0)
                received = await transcribe(recogniser, pcm, conn_options=TWICE)
            assert received.events == []
        assert raised.group_contains(APIConnectionError if status < 1 else APIStatusError)
        # Of the loss, of the first attempt, and of the second one.
        assert [error.recoverable for error in told] == [True, True, False]

    async def test_one_that_comes_back_in_time_is_no_failure(self, make_ink: MakeSTT) -> None:
        script = Script(PHRASE, cues=[Cue(1.5, Close(1006), connection=0)])
        async with InkServer(script) as server:
            once = APIConnectOptions(max_retry=0, timeout=10.0)
            received = await transcribe(make_ink(server.url), script.audio(ROOM), conn_options=once)
            assert len(server.connections) == 2
        assert received.texts(FINAL) == [PHRASE]
        assert len(received.of(START)) == 1


class TestWhoDecides:
    """What a session that nobody told anything passes is an object of its own, by identity."""

    async def test_options_of_an_application_are_obeyed_even_if_they_equal_the_default(
        self, make_ink: MakeSTT
    ) -> None:
        same = APIConnectOptions()
        assert same == DEFAULT_API_CONNECT_OPTIONS
        async with KINDS["service_unavailable"]() as dead:
            assert isinstance(await failure_of(make_ink(dead.url), same), APIStatusError)
            assert dead.attempts() == 4

    async def test_a_session_that_says_nothing_sees_no_end_of_it(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        url = await unused_url()
        async with call(make_ink(url)) as running:
            speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
            # More failures than any number of retries by default.
            await until(lambda: len(running.errors) > 6)
            async with InkServer(script, port=int(url.rpartition(":")[2])):
                await speaking
                await running.answered(1)
        assert running.user_texts == ["Hello there."]
        assert all(event.error.recoverable for event in running.errors)

    async def test_a_session_that_says_something_gets_it_and_no_word_is_lost(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.")
        url = await unused_url()
        options = SessionConnectOptions(stt_conn_options=TWICE)
        async with call(make_ink(url), conn_options=options) as running:
            speaking = asyncio.create_task(running.microphone.speak(script.audio(ROOM)))
            await until(lambda: [event for event in running.errors if not event.error.recoverable])
            # The session opens another stream after half a second; it has the audio of the first.
            async with InkServer(script, port=int(url.rpartition(":")[2])):
                await speaking
                await running.answered(1)
        assert running.user_texts == ["Hello there."]

    async def test_a_session_whose_stt_stays_away_is_closed_by_the_framework(
        self, make_ink: MakeSTT
    ) -> None:
        never = APIConnectOptions(max_retry=0, timeout=0.5)
        options = SessionConnectOptions(stt_conn_options=never, max_unrecoverable_errors=1)
        closed = asyncio.Event()
        async with call(make_ink(await unused_url()), conn_options=options) as running:
            running.session.on("close", lambda _: closed.set())
            speaking = asyncio.create_task(running.microphone.speak(ROOM.silence(25.0)))
            async with asyncio.timeout(30.0):
                await closed.wait()
            speaking.cancel()


class TestFallback:
    @KIND
    async def test_the_next_stt_recognizes_all_from_the_first_word_on(
        self, make_ink: MakeSTT, kind: str
    ) -> None:
        script = Script(PHRASE)
        async with KINDS[kind]() as dead, InkServer(script) as good:
            both = adapter(make_ink(dead.url), make_ink(good.url))
            received = await transcribe(both, script.audio(ROOM))
            await both.aclose()
        assert received.texts(FINAL) == script.transcripts

    async def test_what_the_first_two_did_not_recognize_the_third_does(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script(PHRASE)
        async with AsyncExitStack() as stack:
            dead = [
                await stack.enter_async_context(KINDS[kind]())
                for kind in ("hung_upgrade", "service_unavailable")
            ]
            good = await stack.enter_async_context(InkServer(script))
            urls = [*(server.url for server in dead), good.url]
            three = adapter(*(make_ink(url) for url in urls), max_retry_per_stt=0)
            received = await transcribe(three, script.audio(ROOM))
            await three.aclose()
        assert received.texts(FINAL) == script.transcripts

    @pytest.mark.parametrize("status", [0, -1], ids=["refused", "hung"])
    async def test_a_turn_that_was_open_stays_one_turn(
        self, make_ink: MakeSTT, status: int
    ) -> None:
        """Its words were known in part: they are said once, and answered once."""
        script = Script(PHRASE, Turn("Thank you.", gap=2.0))
        async with (
            InkServer(script, faults=[outage_at(1.5, status=status)]) as first,
            InkServer(script) as second,
        ):
            both = adapter(make_ink(first.url), make_ink(second.url), retry_interval=0.1)
            async with call(both, patience=30.0) as running:
                await running.microphone.speak(script.audio(ROOM) + ROOM.silence(2.0))
                await running.answered(2)
            await both.aclose()
        assert running.user_texts == [PHRASE, "Thank you."]
        assert len(running.speaker.began) == 2

    async def test_an_end_that_a_pause_has_shown_to_be_none_is_not_said_twice(
        self, make_ink: MakeSTT
    ) -> None:
        """The dying connection knows the words before a pause; the next STT gets what follows."""
        script = Script("A table ... for two.", Turn("Thank you.", gap=2.0))
        at = script.spans[0][1] - 0.2
        async with (
            InkServer(script, faults=[outage_at(at)]) as first,
            InkServer(script) as second,
        ):
            both = adapter(make_ink(first.url), make_ink(second.url))
            async with call(both, patience=30.0) as running:
                await running.microphone.speak(script.audio(ROOM) + ROOM.silence(2.0))
                await running.answered(2)
            await both.aclose()
        assert running.user_texts == ["A table for two.", "Thank you."]

    async def test_what_is_pushed_until_the_next_stream_is_open_is_recognized_too(
        self, make_ink: MakeSTT
    ) -> None:
        """An adapter that closes the failed stream on a busy machine takes its time."""
        script = Script(PHRASE)
        frames = [frame async for frame in paced(script.audio(ROOM))]
        told: list[stt.STTError] = []
        async with InkServer(script) as good, asyncio.timeout(60.0):
            first = make_ink(await unused_url())
            first.on("error", told.append)
            async with first.stream(conn_options=APIConnectOptions(max_retry=0)) as failed:
                failed.push_frame(frames[0])
                await until(lambda: told)
                for frame in frames[1:10]:
                    failed.push_frame(frame)
                with pytest.raises(APIConnectionError):
                    await anext(failed)
                for frame in frames[10:]:
                    failed.push_frame(frame)
            async with make_ink(good.url).stream() as stream:
                stream.end_input()
                events = [event async for event in stream]
            with pytest.raises(RuntimeError, match="ended"):
                failed.push_frame(frames[0])
        assert Received(events).texts(FINAL) == script.transcripts

    async def test_rates_may_differ(self, make_ink: MakeSTT) -> None:
        script = Script(PHRASE)
        async with KINDS["hung_upgrade"]() as dead, InkServer(script) as good:
            both = adapter(
                make_ink(dead.url, sample_rate=16_000),
                make_ink(good.url, sample_rate=8_000, encoding="pcm_mulaw"),
            )
            received = await transcribe(both, script.audio(ROOM))
            assert good.connections[0].parameter("sample_rate") == "8000"
            await both.aclose()
        assert received.texts(FINAL) == script.transcripts

    async def test_audio_goes_to_no_other_conversation(self, make_ink: MakeSTT) -> None:
        script = Script(PHRASE)
        async with KINDS["hung_upgrade"]() as dead, InkServer(script) as good:
            # As sessions are: each has its stream read by a task of its own.
            failing = failure_of(make_ink(dead.url), APIConnectOptions(max_retry=0, timeout=1.0))
            await asyncio.create_task(failing)
            await transcribe(make_ink(good.url), ROOM.silence(0.3))
            assert good.connections[0].audio_seconds < 0.5


class TestFallbackOnTheManualEndpoint:
    @pytest.mark.parametrize("dies", [None, 1.0], ids=["from the start", "in mid-segment"])
    async def test_the_segment_is_committed_with_all_its_text(
        self, make_ink: MakeSTT, dies: float | None
    ) -> None:
        """Also where the user let the button go before the adapter switched."""
        script = Script("A table for two, please.")
        pcm = script.audio(ROOM)[: ROOM.size(script.spans[0][1] + 0.1)]
        fault = outage_at(dies, status=-1) if dies else Fault(Silence(), At("connect"), times=None)
        async with (
            InkServer(script, faults=[fault]) as first,
            InkServer(script) as second,
        ):
            both = adapter(
                *(make_ink(server.url, endpoint="manual") for server in (first, second)),
                attempt_timeout=1.0,
                max_retry_per_stt=2,
                retry_interval=0.1,
            )
            turns: Any = {"turn_detection": "manual"}
            async with call(both, patience=30.0, turn_handling=turns) as running:
                await running.microphone.speak(pcm)
                assert not second.connections
                text = await running.session.commit_user_turn(transcript_timeout=30.0)
                await running.answered(1)
                assert running.user_texts == [text]
            await both.aclose()
        assert text == "A table for two, please."
