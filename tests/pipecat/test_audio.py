"""Audio leaves as it is, or as it was asked for; nothing is relabelled."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import EndFrame, InputAudioRawFrame, STTMuteFrame, UserAudioRawFrame

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.pipecat import InkManualSTTService, InkTurnsSTTService
from cartesia_ink_plugins.pipecat.audio_converter import AudioConverter
from cartesia_ink_plugins.testing import InkServer, Script
from tests.pipecat.conversation import Conversation, conversation, tone
from tests.pipecat.sides import builtin, ours, talk_to
from tests.pipecat.wire import START, WireServer, end, wire_server


async def hear(talk: Conversation, pcm: bytes, rate: int, channels: int = 1) -> None:
    await talk.task.queue_frame(InputAudioRawFrame(pcm, rate, channels))


def last(server: WireServer) -> tuple[dict[str, list[str]], bytes]:
    return server.queries[-1], bytes(server.audio[-1])


async def received(talk: Conversation, server: WireServer, size: int) -> bytes:
    await talk.until(lambda: len(server.audio[-1:] and server.audio[-1]) >= size)
    return last(server)[1]


async def test_sixteen_bit_audio_leaves_untouched() -> None:
    pcm = tone(16_000)
    async with talk_to([]) as (talk, server):
        await hear(talk, pcm, 16_000)
        assert await received(talk, server, len(pcm)) == pcm
        assert last(server)[0]["encoding"] == ["pcm_s16le"]
        assert last(server)[0]["sample_rate"] == ["16000"]


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
async def test_the_rate_of_the_frames_is_declared(rate: int) -> None:
    pcm = tone(rate)
    async with talk_to([]) as (talk, server):
        await hear(talk, pcm, rate)
        await talk.until(lambda: len(server.audio) == 2)
        assert await received(talk, server, len(pcm)) == pcm
        assert last(server)[0]["sample_rate"] == [str(rate)]
    async with talk_to([], builtin) as (talk, server):
        await hear(talk, pcm, rate)
        await talk.quiet()
        assert last(server)[0]["sample_rate"] == ["16000"], "the framework's own now declares it"


async def test_the_pipelines_rate_is_declared_before_there_is_audio() -> None:
    async with wire_server([]) as server, conversation(ours(server.url), rate=8_000) as talk:
        await talk.until(lambda: bool(server.queries))
        assert server.queries[0]["sample_rate"] == ["8000"]


async def test_a_rate_that_changes_in_mid_stream_is_resampled() -> None:
    async with talk_to([]) as (talk, server):
        await hear(talk, tone(16_000), 16_000)
        for _ in range(10):
            await hear(talk, tone(48_000), 48_000)
        sent = await received(talk, server, 2 * 16_000)
        assert len(server.audio) == 1
        samples = np.frombuffer(sent, "<i2").astype(float)[4_000:12_000]
        peak = np.argmax(np.abs(np.fft.rfft(samples))) * 16_000 / len(samples)
        assert peak == pytest.approx(440, abs=4)


async def test_stereo_is_mixed_down() -> None:
    async with talk_to([]) as (talk, server):
        await hear(talk, tone(16_000, channels=2), 16_000, channels=2)
        assert await received(talk, server, len(tone(16_000))) == tone(16_000)
    async with talk_to([], builtin) as (talk, server):
        await hear(talk, tone(16_000, channels=2), 16_000, channels=2)
        sent = await received(talk, server, len(tone(16_000)))
        assert sent == tone(16_000, channels=2), "the framework's own now mixes it down, too"


@pytest.mark.parametrize("encoding", ["pcm_mulaw", "pcm_alaw"])
async def test_telephone_audio_takes_half_the_bytes(encoding: str) -> None:
    def telephone(url: str) -> InkTurnsSTTService:
        return ours(url, encoding=encoding, sample_rate=8_000)

    pcm = tone(8_000)
    async with talk_to([], telephone) as (talk, server):
        await hear(talk, pcm, 8_000)
        sent = await received(talk, server, len(pcm) // 2)
        assert len(sent) == len(pcm) // 2
        assert last(server)[0]["encoding"] == [encoding]
        format = AudioFormat(Encoding(encoding), 8_000)
        heard = format.decode(sent)
        assert np.max(np.abs(heard - AudioFormat(sample_rate=8_000).decode(pcm))) < 0.02
    async with talk_to([], lambda url: builtin(url, encoding=encoding)) as (talk, server):
        await talk.until(lambda: bool(server.queries))
        theirs = last(server)[0]["encoding"]
        assert theirs == ["pcm_s16le"], "the framework's own now sends it, too"


async def test_a_frame_that_is_cut_in_mid_sample_does_no_harm() -> None:
    async with talk_to([START, end("Hi")]) as (talk, server):
        await hear(talk, tone(16_000)[:-1], 16_000)
        await server.played.wait()
        await talk.quiet()
        assert talk.user_messages == ["Hi"]


async def test_words_carry_the_name_of_their_speaker() -> None:
    async with talk_to([START, end("Hi")]) as (talk, server):
        await talk.task.queue_frame(UserAudioRawFrame(tone(16_000), 16_000, 1, user_id="ada"))
        await server.played.wait()
        await talk.quiet()
        (final,) = talk.finals
        assert final.user_id == "ada"


def stretches(*rates: int) -> list[InputAudioRawFrame]:
    """A second of audio at each rate, which ends with a tone of 10 ms, in frames of 20 ms."""
    frames = []
    for rate in rates:
        pcm = bytes(2 * (rate * 99 // 100)) + tone(rate, 0.125)[-2 * (rate // 100) :]
        size = 2 * rate // 50
        frames += [
            InputAudioRawFrame(pcm[at : at + size], rate, 1) for at in range(0, len(pcm), size)
        ]
    return frames


def assert_every_stretch_is_whole(sent: bytes, count: int) -> None:
    """Every second ends with its tone, and there is no more and no less than that."""
    assert len(sent) == 2 * 16_000 * count
    for second in np.frombuffer(sent, "<i2").reshape(count, 16_000).astype(int):
        assert np.abs(second[-160:]).max() > 1_000
        assert np.abs(second[1_000:-1_000]).max() < 100


def test_the_rate_may_change_any_number_of_times_in_mid_stream() -> None:
    converter = AudioConverter(AudioFormat())
    rates = (16_000, 8_000, 24_000, 16_000, 48_000, 8_000)
    sent = b"".join(map(converter.convert, stretches(*rates))) + converter.flush()
    assert_every_stretch_is_whole(sent, len(rates))
    assert converter.flush() == b""


async def test_no_audio_is_lost_where_the_rate_changes_or_the_call_ends() -> None:
    rates = (16_000, 8_000, 16_000, 48_000)
    async with talk_to([]) as (talk, server):
        for frame in stretches(*rates):
            await talk.task.queue_frame(frame)
        await talk.task.queue_frame(EndFrame())
        await talk.until(lambda: bool(server.texts))
        assert_every_stretch_is_whole(bytes(server.audio[0]), len(rates))


async def test_a_mute_takes_no_audio_from_before_it() -> None:
    async with talk_to([]) as (talk, server):
        for frame in stretches(16_000, 8_000):
            await talk.task.queue_frame(frame)
        await talk.task.queue_frame(STTMuteFrame(mute=True))
        sent = await received(talk, server, 2 * 2 * 16_000)
        assert_every_stretch_is_whole(sent[: 2 * 2 * 16_000], 2)


async def test_what_is_finalized_is_whole() -> None:
    async with InkServer(Script("Hello.")) as server:
        stt = InkManualSTTService(api_key="test-key", base_url=server.url)
        async with conversation(stt) as talk:
            frames = stretches(16_000, 8_000)
            for frame in frames:
                await talk.task.queue_frame(frame)
            await talk.until(lambda: talk.tap.audio == len(frames))
            await stt.finalize()
            assert server.connections[0].audio_bytes == 2 * 2 * 16_000
