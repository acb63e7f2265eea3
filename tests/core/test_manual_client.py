"""The client of the manual endpoint on a real loopback socket."""

from __future__ import annotations

import asyncio
import gc
import time
from itertools import pairwise

import pytest

from cartesia_ink_plugins import (
    ClosedError,
    Credentials,
    Final,
    InkManualClient,
    Interim,
    ManualOptions,
    RejectedError,
    Resilience,
    UsageError,
)
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.tap import Moment, MomentKind
from cartesia_ink_plugins.testing import InkServer, Rules, Script

SCRIPT = Script("Hello there.", "I'd like a table ... for two people.", "Thanks.")
KEY = Credentials(api_key="sk_secret")


def utterances(script: Script = SCRIPT) -> list[bytes]:
    format = AudioFormat()
    pcm = script.audio(format)
    cuts = [0, *(format.size(end + 0.3) for _, end in script.spans)]
    return [pcm[a:b] for a, b in pairwise(cuts)]


def client(server: InkServer, **options: object) -> InkManualClient:
    asked = ManualOptions(base_url=server.url, **options)  # type: ignore[arg-type]
    return InkManualClient(asked, KEY, resilience=Resilience(catch_up_rate=10))


async def test_finalize_gives_the_words_up_to_there() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        finals = []
        for pcm in utterances():
            ink.send_audio(pcm)
            finals.append(await ink.finalize())
        assert [final.text for final in finals] == SCRIPT.transcripts
        assert all(final.is_complete for final in finals)
        assert [final.timing.turn for final in finals if final.timing] == [1, 2, 3]
        assert {final.request_id for final in finals} == {ink.request_id}
        assert ink.snapshot().turns == 3


async def test_the_events_tell_the_same() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        for pcm in utterances():
            ink.send_audio(pcm)
            await ink.finalize()
        await ink.finish()
        events = [event async for event in ink]
    assert [event.text for event in events if isinstance(event, Final)] == SCRIPT.transcripts
    assert server.connections[0].received == ["finalize"] * 3 + ["close"]
    assert server.connections[0].close_code == 1000


async def test_a_wall_clock_that_is_set_is_followed_while_nobody_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hour, time_of_machine = 3600.0, time.time

    class Clock:
        def __init__(self) -> None:
            self.is_set = asyncio.Event()
            self.told: list[float] = []

        def on(self, moment: Moment) -> None:
            if moment.kind is MomentKind.CLOCK:
                assert isinstance(moment.payload, float)
                self.told.append(moment.payload)
                self.is_set.set()

    tap = Clock()
    async with InkServer(SCRIPT) as server:
        options = ManualOptions(base_url=server.url)
        async with InkManualClient(options, KEY, taps=[tap]) as ink:
            while not ink.is_connected:
                await asyncio.sleep(0.01)
            monkeypatch.setattr(time, "time", lambda: time_of_machine() + hour)
            async with asyncio.timeout(30.0):
                await tap.is_set.wait()
            now = asyncio.get_running_loop().time()
            assert tap.told == [pytest.approx(time.time() - now, abs=10.0)]
            ink.send_audio(utterances()[0])
            final = await ink.finalize()
            assert final.timing is not None
            assert final.timing.speech_start == pytest.approx(time.time(), abs=60.0)


async def test_interims_come_while_somebody_speaks() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        pcm = utterances()[0]
        ink.send_audio(pcm)
        async for event in ink:
            if isinstance(event, Interim):
                assert event.text == "Hello"
                break
        assert (await ink.finalize()).text == "Hello there."


async def test_two_at_once_get_the_same() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        ink.send_audio(utterances()[0])
        first, second = await asyncio.gather(ink.finalize(), ink.finalize())
        assert first is second
        assert first.text == "Hello there."


async def test_before_any_audio_there_are_no_words() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        assert (await ink.finalize()).text == ""
    assert not any(record.received for record in server.connections)


async def test_who_stops_waiting_disturbs_nobody() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        ink.send_audio(utterances()[0])
        impatient = asyncio.create_task(ink.finalize())
        patient = asyncio.create_task(ink.finalize())
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).text == "Hello there."


async def test_a_server_that_never_answers() -> None:
    mute = InkServer(SCRIPT, rules=Rules(answer_finalize=False))
    async with mute as server, client(server) as ink:
        ink.send_audio(utterances()[0])
        final = await ink.finalize(timeout=0.2)
        assert (final.text, final.is_complete) == ("Hello there.", False)


async def test_a_lost_connection_is_not_visible_in_the_finals() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        texts: list[str] = []
        for pcm in utterances():
            half = len(pcm) // 4 * 2
            ink.send_audio(pcm[:half])
            await server.wait_for_connection(len(texts))
            await asyncio.sleep(0.05)
            server.close_all(1011)
            ink.send_audio(pcm[half:])
            texts.append((await ink.finalize()).text)
        assert texts == SCRIPT.transcripts
        assert ink.snapshot().connections == 4
        assert ink.snapshot().lost == 0


async def test_finalize_without_a_server_ends_after_its_timeout() -> None:
    options = ManualOptions(base_url="http://127.0.0.1:1")
    async with InkManualClient(options, KEY) as ink:
        ink.send_audio(utterances()[0])
        async with asyncio.timeout(5):
            final = await ink.finalize(timeout=0.1)
        assert (final.text, final.is_complete) == ("", False)


async def test_a_rejection_ends_finalize() -> None:
    async with InkServer(SCRIPT, api_keys=["another"]) as server, client(server) as ink:
        ink.send_audio(utterances()[0])
        with pytest.raises(RejectedError, match="401") as refusal:
            await ink.finalize()
        assert refusal.value.status == 401
        assert ink.rejection is refusal.value


async def test_what_the_model_does_not_have_is_rejected_by_the_server_too() -> None:
    picky = InkServer(SCRIPT, rules=Rules(manual_models=("ink-whisper",)))
    async with picky as server, client(server) as ink:
        ink.send_audio(bytes(640))
        with pytest.raises(RejectedError, match="model"):
            await ink.finalize()


async def test_closing_ends_every_wait() -> None:
    async with InkServer(SCRIPT, rules=Rules(answer_finalize=False)) as server:
        ink = client(server)
        ink.send_audio(utterances()[0])
        waiting = asyncio.create_task(ink.finalize())
        await asyncio.sleep(0.05)
        await ink.aclose()
        await ink.aclose()
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await ink.finalize()


async def test_finish_gives_the_last_words() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        ink.send_audio(SCRIPT.audio())
        await ink.finish()
        finals = [event.text async for event in ink if isinstance(event, Final)]
    assert finals == ["".join(SCRIPT.transcripts)]


async def test_nothing_is_left() -> None:
    before = asyncio.all_tasks()
    async with InkServer(SCRIPT) as server, client(server) as ink:
        ink.send_audio(utterances()[0])
        await ink.finalize()
        ink.send_audio(utterances()[1])
        ink.request_final()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    gc.collect()


async def test_who_never_reads_events_has_no_heap_of_them() -> None:
    async with InkServer(SCRIPT) as server, client(server) as ink:
        for _ in range(1500):
            await ink.finalize()
        ink.send_audio(utterances()[0])
        await ink.finalize()
        await ink.finish()
        assert len([event async for event in ink]) <= 1000


class TestOptions:
    def test_what_is_asked_for_stands_in_the_url(self) -> None:
        options = ManualOptions(
            model="ink-whisper",
            language="de-AT",
            min_volume=0.1,
            max_silence_duration_secs=1.5,
            base_url="https://example.com/stt/turns/websocket",
        )
        assert options.url() == (
            "wss://example.com/stt/websocket?model=ink-whisper&encoding=pcm_s16le"
            "&sample_rate=16000&language=de&min_volume=0.1&max_silence_duration_secs=1.5"
        )

    def test_no_default_is_sent(self) -> None:
        url = ManualOptions(keyterms=["two words"]).url("tok")
        assert url.endswith("sample_rate=16000&keyterm=two%20words&access_token=tok")

    @pytest.mark.parametrize(
        ("wrong", "why"),
        [
            ({"language": "en\r\nfr"}, "language"),
            ({"model": ""}, "model"),
            ({"model": "ink-whisper", "keyterms": ["x"]}, "keyterms"),
            ({"min_volume": 0.5}, "ink-whisper"),
            ({"model": "ink-whisper", "min_volume": 2.0}, "min_volume"),
            ({"model": "ink-whisper", "max_silence_duration_secs": 0.0}, "max_silence"),
            ({"encoding": "mp3"}, "encoding"),
            ({"sample_rate": 12}, "sample_rate"),
            ({"base_url": "ftp://x"}, "base_url"),
        ],
    )
    def test_what_is_wrong_is_named(self, wrong: dict[str, object], why: str) -> None:
        with pytest.raises(UsageError, match=why):
            ManualOptions(**wrong)  # type: ignore[arg-type]
