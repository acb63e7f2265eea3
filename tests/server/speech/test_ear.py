"""The ear: bytes cut anywhere, six encodings, any rate; recognition beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples
from cartesia_ink_plugins.server.engine import Outgoing, TurnThresholds
from cartesia_ink_plugins.server.speech.ear import Resampler, SpeechEar
from cartesia_ink_plugins.server.speech.listener import Listener
from cartesia_ink_plugins.server.speech.recognise import Answer, Awaited, Kind, Recognise, Request
from cartesia_ink_plugins.server.speech.workers import Workers

FORMAT = AudioFormat()


def loudness(samples: Samples) -> float:
    """A voice detector for tones."""
    return float(np.abs(samples).max() > 0.1)


def tone(seconds: float, rate: int = 16_000) -> Samples:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype("f4")


SPEECH = FORMAT.encode(tone(1.0))
CALL = FORMAT.silence(0.5) + SPEECH + FORMAT.silence(1.0)


def hello(request: Request, awaited: Awaited) -> Answer:
    return Answer(" Hello.".removeprefix(request.prefix), final=1.0)


class Heard:
    """What an ear emits."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []
        self.threads: set[int] = set()

    def __call__(self, messages: Sequence[Outgoing]) -> None:
        assert messages
        self.messages += messages
        self.threads.add(threading.get_ident())

    @property
    def kinds(self) -> list[str]:
        kinds = [getattr(message, "type", "?") for message in self.messages]
        return [kind for kind in kinds if kind != "turn.update"]


def open_ear(
    heard: Heard,
    recognise: Recognise = hello,
    workers: Workers | None = None,
    format: AudioFormat = FORMAT,
) -> SpeechEar:
    return SpeechEar(Listener(loudness, TurnThresholds()), format, heard, recognise, workers)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    workers = Workers(1)
    yield workers
    workers.shutdown()


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_000, 44_100, 48_000])
def test_any_encoding_and_rate_become_16_khz(encoding: Encoding, rate: int) -> None:
    format = AudioFormat(encoding, rate)
    pcm = format.encode(tone(1.0, rate))
    resampler = Resampler(format)
    chunks = [resampler(pcm[start : start + 777]) for start in range(0, len(pcm), 777)]
    samples = np.concatenate([*chunks, resampler(b"", last=True)])
    assert len(samples) == pytest.approx(16_000, abs=2)
    expected = tone(1.0)[1_000:15_000]
    assert np.corrcoef(samples[1_000:15_000], expected)[0, 1] > 0.99


def test_a_sample_cut_in_two_is_put_together() -> None:
    resampler = Resampler(AudioFormat(Encoding.PCM_S32LE, 16_000))
    pcm = AudioFormat(Encoding.PCM_S32LE, 16_000).encode(tone(0.01))
    samples = np.concatenate([resampler(pcm[at : at + 1]) for at in range(len(pcm))])
    np.testing.assert_allclose(samples, tone(0.01), atol=1e-6)


def test_wild_floats_do_no_harm() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], "<f4").tobytes()
    assert np.abs(Resampler(AudioFormat(Encoding.PCM_F32LE, 16_000))(wild)).max() <= 1


@pytest.mark.parametrize("chunk", [1_001, 640, 32_000, 10**6])
async def test_without_workers_the_events_do_not_depend_on_the_chunks(chunk: int) -> None:
    heard = Heard()
    ear = open_ear(heard)
    for start in range(0, len(CALL), chunk):
        ear.receive_audio(CALL[start : start + chunk])
    assert heard.kinds == ["turn.start", "turn.eager_end", "turn.end"]
    await ear.close()
    assert heard.kinds == ["turn.start", "turn.eager_end", "turn.end"]


async def test_closing_ends_an_open_turn() -> None:
    heard = Heard()
    ear = open_ear(heard)
    ear.receive_audio(FORMAT.silence(0.5) + SPEECH)
    await ear.close()
    assert heard.kinds == ["turn.start", "turn.end"]
    await ear.close()
    ear.receive_audio(SPEECH)
    assert heard.kinds == ["turn.start", "turn.end"]


async def test_closing_without_audio_is_nothing() -> None:
    heard = Heard()
    await open_ear(heard).close()
    assert heard.messages == []


async def test_recognition_runs_beside_the_loop_and_events_come_on_its_thread(
    workers: Workers,
) -> None:
    threads = set()

    def recognise(request: Request, awaited: Awaited) -> Answer:
        threads.add(threading.get_ident())
        return hello(request, awaited)

    heard = Heard()
    ear = open_ear(heard, recognise, workers)
    ear.receive_audio(CALL)
    await ear.close()
    assert heard.kinds == ["turn.start", "turn.eager_end", "turn.end"]
    assert heard.threads == {threading.get_ident()}
    assert threading.get_ident() not in threads


async def test_a_slow_decode_delays_nobody_elses_audio(workers: Workers) -> None:
    release = threading.Event()

    def slow(request: Request, awaited: Awaited) -> Answer:
        release.wait()
        return hello(request, awaited)

    slowly, other = Heard(), Heard()
    stuck = open_ear(slowly, slow, workers)
    free = open_ear(other, hello, None)
    stuck.receive_audio(CALL)
    free.receive_audio(CALL)
    assert slowly.kinds == ["turn.start"]
    assert other.kinds == ["turn.start", "turn.eager_end", "turn.end"]
    stuck.receive_audio(CALL)
    assert stuck.backlog > 1
    release.set()
    await stuck.close()
    assert slowly.kinds == ["turn.start", "turn.eager_end", "turn.end"] * 2
    await free.close()


async def test_a_long_burst_lets_the_loop_do_other_things(workers: Workers) -> None:
    ear = open_ear(Heard(), hello, workers)
    ear.receive_audio(FORMAT.silence(30))
    assert ear.backlog > 20
    await ear.close()
    assert ear.backlog == 0


async def test_after_an_abort_nothing_comes(workers: Workers) -> None:
    release = threading.Event()

    def slow(request: Request, awaited: Awaited) -> Answer:
        release.wait()
        return hello(request, awaited)

    heard = Heard()
    ear = open_ear(heard, slow, workers)
    ear.receive_audio(CALL)
    before = list(heard.messages)
    ear.abort()
    release.set()
    ear.receive_audio(CALL)
    await ear.close()
    await asyncio.sleep(0.01)
    assert heard.messages == before


async def test_a_failing_recogniser_costs_the_words_not_the_turn(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request, awaited: Awaited) -> Answer:
        raise RuntimeError("out of memory")

    heard = Heard()
    ear = open_ear(heard, broken, workers)
    ear.receive_audio(CALL)
    await ear.close()
    assert heard.kinds == ["turn.start", "turn.end"]
    assert "recognition failed" in caplog.text


async def test_thresholds_can_be_changed() -> None:
    heard = Heard()
    ear = open_ear(heard)
    ear.configure(TurnThresholds(start=0.99, eager_end=0.98, end=0.97))
    ear.receive_audio(CALL)
    assert "turn.end" in heard.kinds
    await ear.close()


def test_a_partial_begins_only_when_no_pause_waits() -> None:
    workers = Workers(1)
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def pause() -> Answer:
        begun.set()
        go_on.wait()
        done.append("pause")
        return Answer("")

    def partial() -> Answer:
        done.append("partial")
        return Answer("")

    jobs = [workers.submit(Kind.PAUSE, pause), workers.submit(Kind.PARTIAL, partial)]
    jobs.append(workers.submit(Kind.PAUSE, pause))
    begun.wait()
    go_on.set()
    for job in jobs:
        job.result()
    assert done == ["pause", "pause", "partial"]
    workers.shutdown()


def waiting_for(release: threading.Event) -> Callable[[], Answer]:
    """A job that keeps a thread busy until it is released."""

    def busy() -> Answer:
        release.wait()
        return Answer("")

    return busy


async def test_a_pause_that_is_over_is_not_judged_when_the_machine_is_busy(
    workers: Workers,
) -> None:
    release = threading.Event()
    asked: list[Request] = []

    def slow(request: Request, awaited: Awaited) -> Answer:
        asked.append(request)
        release.wait()
        return hello(request, awaited)

    workers.submit(Kind.PAUSE, waiting_for(release))
    heard = Heard()
    ear = open_ear(heard, slow, workers)
    for _ in range(5):
        ear.receive_audio(FORMAT.encode(tone(0.2)) + FORMAT.silence(0.2))
    ear.receive_audio(FORMAT.encode(tone(0.2)))
    assert heard.kinds == ["turn.start"]
    release.set()
    await ear.close()
    workers.shutdown()
    assert heard.kinds == ["turn.start", "turn.end"]
    assert len([request for request in asked if request.melody is not None]) == 1


async def test_an_interim_that_came_too_late_is_not_recognised(workers: Workers) -> None:
    """A pause begins while it waits for a thread: the pause is recognised, and that is all."""
    release = threading.Event()
    asked: list[Request] = []

    def recognise(request: Request, awaited: Awaited) -> Answer:
        asked.append(request)
        return hello(request, awaited)

    workers.submit(Kind.PAUSE, waiting_for(release))
    heard = Heard()
    ear = open_ear(heard, recognise, workers)
    ear.receive_audio(CALL)
    release.set()
    await ear.close()
    workers.shutdown()
    assert heard.kinds == ["turn.start", "turn.eager_end", "turn.end"]
    assert [request.melody is not None for request in asked] == [True]


async def test_an_interim_under_way_is_given_up_when_a_pause_begins(workers: Workers) -> None:
    """Its later steps would take the processor from the pause, which a reply waits for."""
    begun, release = threading.Event(), threading.Event()
    still_awaited: list[bool] = []

    def recognise(request: Request, awaited: Awaited) -> Answer | None:
        if request.melody is None:
            begun.set()
            release.wait()
            still_awaited.append(awaited())
            return None
        return hello(request, awaited)

    heard = Heard()
    ear = open_ear(heard, recognise, workers)
    ear.receive_audio(FORMAT.silence(0.5) + SPEECH)
    begun.wait()
    ear.receive_audio(FORMAT.silence(1.0))
    release.set()
    await ear.close()
    workers.shutdown()
    assert still_awaited == [False]
    assert heard.kinds == ["turn.start", "turn.eager_end", "turn.end"]


async def test_when_the_engine_is_closed_nothing_breaks(workers: Workers) -> None:
    heard = Heard()
    ear = open_ear(heard, hello, workers)
    workers.shutdown()
    ear.receive_audio(CALL)
    assert heard.kinds == ["turn.start"]
    await ear.close()
    assert heard.kinds == ["turn.start", "turn.end"]
