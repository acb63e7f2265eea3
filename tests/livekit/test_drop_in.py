"""Moving over is one import: what LiveKit's own Cartesia STT has and does, ours does, too."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import fields
from typing import Any, cast

import pytest
from livekit.agents import APIConnectOptions, stt
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.plugins import cartesia

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.livekit.conftest import BOTH, MakeSTT
from tests.livekit.harness import (
    ROOM_RATE,
    Received,
    Speaker,
    Tts,
    call,
    paced,
    transcribe,
    until,
)
from tests.livekit.outages import KINDS, outage_at, unused_url
from tests.parity import (
    Offer,
    Offers,
    assert_every_difference_is_named,
    bases,
    comparable,
    constructor,
    keywords,
    members,
    of_kind,
)

URL = "http://127.0.0.1:9"
ROOM = AudioFormat(sample_rate=ROOM_RATE)
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT


def offers(recognizer: stt.STT[Any], package: str) -> Offers:
    """What an STT offers to an application."""
    kind = type(recognizer)
    capabilities = {
        Offer("capability", field.name): comparable(getattr(recognizer.capabilities, field.name))
        for field in fields(stt.STTCapabilities)
    }
    return {
        **constructor(kind, package, "livekit"),
        **members(kind, recognizer, stt.STT),
        **capabilities,
        **bases(kind, "livekit"),
    }


def is_ignored(keyword: str, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether a keyword is accepted without effect, and the log says so."""
    caplog.clear()
    with suppress(Exception):  # it is no sensible value
        ink.STT(**{"api_key": "sk_test", keyword: cast(Any, object())})
    return f"{keyword} has no meaning" in caplog.text


async def test_every_difference_of_the_stt_is_in_the_table(
    make_ink: MakeSTT, make_builtin: MakeSTT, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "livekit.plugins.cartesia_ink")
    names = [parameter.name for parameter in keywords(cartesia.STT, "livekit.plugins")]
    assert_every_difference_is_named(
        "LiveKit: STT",
        offers(make_builtin(URL), "livekit"),
        offers(make_ink(URL), "cartesia_ink_plugins"),
        [name for name in names if is_ignored(name, caplog)],
    )


async def test_every_difference_of_a_stream_is_in_the_table(
    make_ink: MakeSTT, make_builtin: MakeSTT
) -> None:
    theirs, ours = make_builtin(URL).stream(), make_ink(URL).stream()
    assert_every_difference_is_named(
        "LiveKit: streams",
        members(type(theirs), theirs, stt.RecognizeStream) | bases(type(theirs), "livekit"),
        members(type(ours), ours, stt.RecognizeStream) | bases(type(ours), "livekit"),
    )


def test_every_name_of_the_package_is_there_or_in_the_table() -> None:
    assert_every_difference_is_named(
        "LiveKit: the package",
        of_kind("export", cartesia.__all__),
        of_kind("export", ink.__all__),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"language": "en"},
        {"language": "en-US"},
        {"model": "ink-2"},
        {"language": "de"},
        {"model": "ink-whisper"},
    ],
    ids=str,
)
def test_it_is_the_same_model_and_can_no_less(options: dict[str, Any]) -> None:
    mine, theirs = (kind(api_key="sk_test", **options) for kind in (ink.STT, cartesia.STT))
    assert (mine.model, mine.provider) == (theirs.model, theirs.provider)
    for field in fields(stt.STTCapabilities):
        own, other = (getattr(it.capabilities, field.name) for it in (mine, theirs))
        assert own or not other, field.name


def test_who_gets_a_model_without_turns_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "livekit.plugins.cartesia_ink"):
        german = ink.STT(api_key="sk_test", language="de")
    assert "detects no turns" in caplog.text
    german.update_options(language="fr")
    assert "still listens for 'de'" in caplog.text


async def test_a_stream_has_options_of_its_own(
    make_ink: MakeSTT, caplog: pytest.LogCaptureFixture
) -> None:
    stream = make_ink(URL).stream()
    stream.update_options(language="en-GB", model="ink-3")
    assert stream.language == "en-GB"
    assert "the model stays 'ink-2'" in caplog.text


SAME = pytest.mark.parametrize("make", ["ink", "builtin"], indirect=True)


async def speak_when_connected(
    both: stt.FallbackAdapter, script: Script, good: InkServer
) -> Received:
    """Speak after the switch: what is said before it is lost with the built-in class."""
    pcm = script.audio(ROOM)
    return await transcribe(both, pcm, silent_until=lambda: good.connections)


class TestBehaviour:
    """The framework's own options give the same outcome, wherever the built-in class is right."""

    @SAME
    @pytest.mark.parametrize("kind", sorted(set(KINDS) - {"hung_upgrade"}))
    async def test_a_fallback_after_as_many_attempts(self, make: MakeSTT, kind: str) -> None:
        script = Script("Hello there.")
        async with KINDS[kind]() as dead, InkServer(script) as good:
            first = make(dead.url)
            told = listen(first)
            both = stt.FallbackAdapter(
                [first, make(good.url)], max_retry_per_stt=2, retry_interval=0.1
            )
            received = await speak_when_connected(both, script, good)
            await both.aclose()
            # Three for the call, and one to learn whether it has come back.
            assert dead.attempts() in (0, 4)
        assert told == [True, True, False, False]
        assert received.texts(FINAL) == script.transcripts

    @SAME
    async def test_a_fallback_when_time_is_up(self, make: MakeSTT) -> None:
        script = Script("Hello there.")
        async with KINDS["hung_upgrade"]() as dead, InkServer(script) as good:
            both = stt.FallbackAdapter(
                [make(dead.url), make(good.url)], attempt_timeout=0.3, max_retry_per_stt=0
            )
            received = await speak_when_connected(both, script, good)
            await both.aclose()
            assert dead.attempts() == 2
        assert received.texts(FINAL) == script.transcripts

    @BOTH
    @pytest.mark.real_clock("the built-in class is wrong only where a timeout comes late")
    @pytest.mark.needs("livekit-agents>=1.8.9")  # with 1.8.0 the built-in one switches, too
    async def test_a_fallback_when_the_time_of_each_retry_is_up(
        self, make: MakeSTT, patience: float
    ) -> None:
        """The base class takes an attempt that lasted until its timeout for one that connected."""
        script = Script("Hello there.")
        async with KINDS["hung_upgrade"]() as dead, InkServer(script) as good:
            both = stt.FallbackAdapter([make(dead.url), make(good.url)], attempt_timeout=0.3)
            async with both.stream() as stream:
                async for frame in paced(ROOM.silence(1.0)):
                    stream.push_frame(frame)
                await until(lambda: good.connections, seconds=patience)
            await both.aclose()

    @SAME
    async def test_a_fallback_in_mid_call(self, make: MakeSTT) -> None:
        script = Script("Hello there.", Turn("Good bye.", gap=3.0))
        dies = outage_at(script.spans[0][1] + 2.0)
        async with InkServer(script, faults=[dies]) as first, InkServer(script) as second:
            both = stt.FallbackAdapter([make(first.url), make(second.url)])
            received = await transcribe(both, script.audio(ROOM))
            await both.aclose()
        assert [text.strip() for text in received.texts(FINAL)] == ["Hello there.", "Good bye."]

    @SAME
    async def test_the_first_is_taken_again_when_it_is_back(self, make: MakeSTT) -> None:
        script = Script("Hello there.")
        url = await unused_url()
        changes: list[bool] = []
        async with InkServer(script) as second:
            both = stt.FallbackAdapter([make(url), make(second.url)], max_retry_per_stt=0)
            both.on("stt_availability_changed", lambda event: changes.append(event.available))
            pcm = ROOM.silence(0.5) + script.audio(ROOM) + ROOM.silence(0.5)
            await transcribe(both, pcm)
            assert changes == [False]
            async with InkServer(script, port=int(url.rpartition(":")[2])) as first:
                for _ in range(2):
                    await transcribe(both, pcm)
                assert first.connections
            await both.aclose()

    @SAME
    async def test_a_session_is_told_of_its_end_after_as_many_attempts(self, make: MakeSTT) -> None:
        options = APIConnectOptions(max_retry=2, retry_interval=0.1)
        async with KINDS["service_unavailable"]() as dead:
            session = SessionConnectOptions(stt_conn_options=options)
            async with call(make(dead.url), conn_options=session) as running:
                speaking = asyncio.create_task(running.microphone.speak(ROOM.silence(20.0)))
                await until(lambda: len(running.errors) >= 6)
                speaking.cancel()
        told = [event.error.recoverable for event in running.errors[:6]]
        assert told == [True, True, False] * 2


TALK = Script("Tell me everything.", Turn("Stop it now.", gap=0.6))
POLITE: list[Any] = [
    {"enabled": False, "discard_audio_if_uninterruptible": False},
    {"min_words": 9},
]


class TestSessionOptions:
    """What an application sets on its session has the same effect with either."""

    @SAME
    @pytest.mark.parametrize("interruption", POLITE, ids=["not at all", "nine words"])
    async def test_the_agent_is_not_interrupted(self, make: MakeSTT, interruption: Any) -> None:
        async with (
            InkServer(TALK) as server,
            call(
                make(server.url),
                speaker=Speaker(real_time=True),
                voice=Tts(seconds=3.0),
                turn_handling={"interruption": interruption},
            ) as running,
        ):
            await running.microphone.speak(TALK.audio(ROOM))
            await until(lambda: running.speaker.interrupted)
        assert running.speaker.interrupted[0] is False

    @SAME
    async def test_no_reply_is_begun_before_the_turn_ends(self, make: MakeSTT) -> None:
        script = Script("A table ... for two.")
        turns: Any = {"preemptive_generation": {"enabled": False}}
        async with (
            InkServer(script) as server,
            call(make(server.url), turn_handling=turns) as running,
        ):
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
        assert [text.strip() for text in running.answers.texts] == script.transcripts

    @SAME
    async def test_a_user_who_says_nothing_is_away_and_may_come_back(self, make: MakeSTT) -> None:
        script = Script("Hello there.")
        async with (
            InkServer(script) as server,
            call(make(server.url), user_away_timeout=0.5) as running,
        ):
            await until(lambda: running.user_state == "away")
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
        assert [text.strip() for text in running.user_texts] == script.transcripts


def listen(recogniser: stt.STT[Any]) -> list[bool]:
    """The errors that are told from now on: whether each is recoverable."""
    told: list[bool] = []
    recogniser.on("error", lambda error: told.append(error.recoverable))
    return told
