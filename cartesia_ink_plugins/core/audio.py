"""Audio formats: bytes, seconds and samples for the six encodings of the API.

See https://docs.cartesia.ai/build-with-cartesia/capability-guides/audio-encodings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from cartesia_ink_plugins.core.errors import UsageError

Samples = npt.NDArray[np.float32]


class Encoding(StrEnum):
    """How samples are written as bytes."""

    PCM_S16LE = "pcm_s16le"
    PCM_S32LE = "pcm_s32le"
    PCM_F16LE = "pcm_f16le"
    PCM_F32LE = "pcm_f32le"
    PCM_MULAW = "pcm_mulaw"
    PCM_ALAW = "pcm_alaw"

    @property
    def sample_width(self) -> int:
        """Bytes per sample."""
        return _DTYPES[self].itemsize

    @classmethod
    def parse(cls, name: str) -> Encoding:
        """Find an encoding by its name in the API.

        Raises:
            UsageError: There is no such encoding.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(e.value for e in cls)
            raise UsageError(f"encoding: {name!r} is not one of {known}") from None


_DTYPES: dict[Encoding, np.dtype[np.generic]] = {
    Encoding.PCM_S16LE: np.dtype("<i2"),
    Encoding.PCM_S32LE: np.dtype("<i4"),
    Encoding.PCM_F16LE: np.dtype("<f2"),
    Encoding.PCM_F32LE: np.dtype("<f4"),
    Encoding.PCM_MULAW: np.dtype("u1"),
    Encoding.PCM_ALAW: np.dtype("u1"),
}
_SILENT_BYTE = {Encoding.PCM_MULAW: b"\xff", Encoding.PCM_ALAW: b"\xd5"}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono audio as raw bytes.

    Attributes:
        encoding: How a sample is written.
        sample_rate: Samples per second, in Hz.
        sample_width: Bytes per sample.
        byte_rate: Bytes per second.
    """

    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = 16_000
    sample_width: int = field(init=False, repr=False, compare=False)
    byte_rate: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Reckon once what every frame of audio asks for."""
        object.__setattr__(self, "sample_width", self.encoding.sample_width)
        object.__setattr__(self, "byte_rate", self.sample_rate * self.sample_width)

    def seconds(self, size: int) -> float:
        """Duration of `size` bytes, in seconds."""
        return size / self.byte_rate

    def size(self, seconds: float) -> int:
        """Bytes of the whole samples in `seconds`, rounded down."""
        # 0.009 s at 24 kHz are 216 samples, though 0.009 * 24000 is a little less.
        return int(seconds * self.sample_rate + 1e-6) * self.sample_width

    def silence(self, seconds: float) -> bytes:
        """Silence in this encoding (in the companded ones it is not zero bytes)."""
        return _SILENT_BYTE.get(self.encoding, b"\x00") * self.size(seconds)

    def check(self, size: int) -> None:
        """Refuse bytes that are not whole samples.

        Raises:
            UsageError: `size` is no multiple of the sample width.
        """
        if size % self.sample_width:
            raise UsageError(
                f"pcm: {size} bytes are not whole samples of {self.encoding.value} "
                f"({self.sample_width} bytes each)"
            )

    def decode(self, pcm: bytes) -> Samples:
        """Read bytes as samples between -1 and 1."""
        raw = np.frombuffer(pcm, _DTYPES[self.encoding])
        match self.encoding:
            case Encoding.PCM_S16LE:
                return raw.astype(np.float32) * np.float32(1 / 32768)
            case Encoding.PCM_S32LE:
                return raw.astype(np.float32) * np.float32(1 / 2147483648)
            case Encoding.PCM_MULAW:
                return _MULAW_DECODE[raw]
            case Encoding.PCM_ALAW:
                return _ALAW_DECODE[raw]
            case _:
                return np.nan_to_num(raw.astype(np.float32), posinf=0.0, neginf=0.0)

    def encode(self, samples: Samples) -> bytes:
        """Write samples as bytes; values outside -1 to 1 are clipped."""
        clipped = np.clip(samples, -1.0, 1.0)
        match self.encoding:
            case Encoding.PCM_S16LE:
                return _to_int16(clipped).astype("<i2").tobytes()
            case Encoding.PCM_S32LE:
                scaled = np.round(clipped.astype(np.float64) * 2147483647)
                return scaled.astype("<i4").tobytes()
            case Encoding.PCM_MULAW:
                return _MULAW_ENCODE[_to_int16(clipped).view(np.uint16)].tobytes()
            case Encoding.PCM_ALAW:
                return _ALAW_ENCODE[_to_int16(clipped).view(np.uint16)].tobytes()
            case _:
                return clipped.astype(_DTYPES[self.encoding]).tobytes()


def _to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)


def downmix(pcm: bytes, channels: int) -> bytes:
    """Make one channel of interleaved 16-bit channels: see `mix_down`.

    Raises:
        UsageError: The bytes are not whole frames of `channels` 16-bit samples.
    """
    if channels == 1:
        return pcm
    if channels < 1 or len(pcm) % (2 * channels):
        raise UsageError(
            f"pcm: {len(pcm)} bytes are not whole 16-bit frames of {channels} channels"
        )
    frames = np.frombuffer(pcm, "<i2").reshape(-1, channels).astype(np.float32)
    return np.round(mix_down(frames)).astype("<i2").tobytes()


# Power of the sum of all channels, relative to that of the loudest one. A single channel with sound
# makes 1, independent channels more; only channels that cancel one another make less.
_CANCELLED = 0.05
_NOT_CANCELLED = 0.2


def mix_down(frames: Samples) -> Samples:
    """Average channels into one, or take one channel where they cancel one another.

    A recording with one channel inverted would be silent. A piece of audio is judged by itself, so
    that no state is kept between two calls. From piece to piece the result changes no faster than
    the recording: between cancelled and not cancelled, the mean and the channel are blended. The
    channel is the first one that is not much quieter than the loudest, for every piece the same as
    long as the channels are about equally loud.

    Args:
        frames: A row for each moment, a column for each channel.

    Returns:
        One sample for each row, nowhere beyond the largest in it.
    """
    exact = frames.astype(np.float64)
    mixed: npt.NDArray[np.float64] = exact @ np.full(frames.shape[1], 1 / frames.shape[1])
    powers = np.einsum("ij,ij->j", exact, exact)
    loudest = powers.max(initial=0.0)
    summed = np.dot(mixed, mixed) * frames.shape[1] ** 2
    if summed < _NOT_CANCELLED * loudest:
        share = max(0.0, (summed / loudest - _CANCELLED) / (_NOT_CANCELLED - _CANCELLED))
        channel = exact[:, np.argmax(powers >= loudest / 4)]
        mixed = share * mixed + (1 - share) * channel
    return mixed.astype(np.float32)


def copied(pcm: object) -> bytes:
    """The bytes of a buffer, which may be changed before they are sent once more.

    Raises:
        UsageError: It is no buffer.
    """
    try:
        return bytes(memoryview(pcm))  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"pcm: must be bytes, not {type(pcm).__name__}") from None


def _mulaw_table() -> Samples:
    """Decode table of G.711 µ-law."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 7)) - 0x84
    signed = np.where(code & 0x80, -magnitude, magnitude)
    return (signed / 32768).astype(np.float32)


def _alaw_table() -> Samples:
    """Decode table of G.711 A-law."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code >> 4) & 7
    mantissa = (code & 0x0F) << 4
    magnitude = np.where(
        exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0)
    )
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


def _nearest_code(decode: Samples) -> npt.NDArray[np.uint8]:
    """Turn a decode table into an encode table indexed by the 16-bit sample's bit pattern."""
    order = np.argsort(decode, kind="stable")
    levels = decode[order]
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float32) / 32768
    middles = (levels[1:] + levels[:-1]) / 2
    return order[np.searchsorted(middles, samples)].astype(np.uint8)


_MULAW_DECODE = _mulaw_table()
_ALAW_DECODE = _alaw_table()
_MULAW_ENCODE = _nearest_code(_MULAW_DECODE)
_ALAW_ENCODE = _nearest_code(_ALAW_DECODE)
