"""From Pipecat's audio frames to the bytes of the session's format."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame

from cartesia_ink_plugins.core.audio import AudioFormat, FrameConverter, downmix

# As Pipecat's own resamplers, which lose what they hold when no audio comes for 0.2 s.
_QUALITY = "VHQ"


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
        self._resampler: Any = None  # soxr.ResampleStream, which has no types
        self._resampled_rate = 0  # Hz; a resampler takes one rate only

    def convert(self, frame: InputAudioRawFrame) -> bytes:
        """What to send for a frame; empty when there is nothing yet."""
        pcm = frame.audio
        whole = 2 * frame.num_channels
        if len(pcm) % whole:
            logger.warning(f"audio frame of {len(pcm)} bytes is not whole 16-bit samples")
            pcm = pcm[: len(pcm) - len(pcm) % whole]
        if frame.sample_rate == self.format.sample_rate:
            pcm = self._frames.encode(pcm, frame.num_channels)
            return pcm if self._resampler is None else self.flush() + pcm
        held = b""
        if self._resampler is None or self._resampled_rate != frame.sample_rate:
            logger.info(
                f"audio changed to {frame.sample_rate} Hz in mid-stream; resampling it to "
                f"the session's {self.format.sample_rate} Hz"
            )
            held = self.flush()
            self._resampler = soxr.ResampleStream(
                frame.sample_rate, self.format.sample_rate, 1, dtype="int16", quality=_QUALITY
            )
            self._resampled_rate = frame.sample_rate
        samples = np.frombuffer(downmix(pcm, frame.num_channels), "<i2")
        return held + self._resampled(samples)

    def flush(self) -> bytes:
        """What the resampler still holds, 40 to 50 ms; empty when nothing is resampled."""
        if self._resampler is None:
            return b""
        held = self._resampled(np.empty(0, "<i2"), is_last=True)
        self._resampler = None
        return held

    def _resampled(self, samples: npt.NDArray[np.int16], *, is_last: bool = False) -> bytes:
        assert self._resampler is not None
        resampled = self._resampler.resample_chunk(samples, last=is_last)
        return self._frames.encode(resampled.astype("<i2").tobytes())
