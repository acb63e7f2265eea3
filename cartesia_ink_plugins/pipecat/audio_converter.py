"""From Pipecat's audio frames to the bytes of the session's format."""

from __future__ import annotations

from loguru import logger
from pipecat.audio.resamplers.base_audio_resampler import BaseAudioResampler
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import InputAudioRawFrame

from cartesia_ink_plugins.core.audio import AudioFormat, FrameConverter, downmix


class AudioConverter:
    """Makes one channel of the session's encoding and rate out of whatever comes.

    Frames already are what is sent when the encoding is 16-bit PCM, as it is by default. A frame
    of another rate than the session's is resampled; that happens only when the rate changes in
    mid-stream, because a session is opened with the rate of its first frame.
    """

    def __init__(self, format: AudioFormat) -> None:
        """Prepare for a session.

        Args:
            format: What the session takes.
        """
        self.format = format
        self._frames = FrameConverter(format)
        self._resampler: BaseAudioResampler | None = None
        self._resampled_rate = 0  # Hz; a resampler takes one rate only

    async def convert(self, frame: InputAudioRawFrame) -> bytes:
        """What to send for a frame; empty when there is nothing yet."""
        pcm = frame.audio
        whole = 2 * frame.num_channels
        if len(pcm) % whole:
            logger.warning(f"audio frame of {len(pcm)} bytes is not whole 16-bit samples")
            pcm = pcm[: len(pcm) - len(pcm) % whole]
        if frame.sample_rate == self.format.sample_rate:
            return self._frames.encode(pcm, frame.num_channels)
        if self._resampler is None or self._resampled_rate != frame.sample_rate:
            logger.info(
                f"audio changed to {frame.sample_rate} Hz in mid-stream; resampling it to "
                f"the session's {self.format.sample_rate} Hz"
            )
            self._resampler = create_stream_resampler()
            self._resampled_rate = frame.sample_rate
        pcm = downmix(pcm, frame.num_channels)
        pcm = await self._resampler.resample(pcm, frame.sample_rate, self.format.sample_rate)
        return self._frames.encode(pcm)
