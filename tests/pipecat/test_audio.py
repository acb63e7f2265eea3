"""Audio leaves as it is, or as it was asked for; nothing is relabelled."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame, UserAudioRawFrame

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.pipecat.audio_converter import AudioConverter
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


async def test_the_rate_may_change_any_number_of_times_in_mid_stream() -> None:
    converter = AudioConverter(AudioFormat())
    for rate in (16_000, 8_000, 24_000, 16_000, 48_000, 8_000):
        source = AudioFormat(sample_rate=rate)
        frame = InputAudioRawFrame(source.silence(0.02), sample_rate=rate, num_channels=1)
        pcm = b"".join([await converter.convert(frame) for _ in range(50)])
        # A resampler begins with what it holds back, about 50 ms.
        assert 0.9 < converter.format.seconds(len(pcm)) <= 1.0
