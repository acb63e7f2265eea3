"""The sound of a call for a page: how loud it was, and the sound itself, small enough to embed.

It is mono IMA ADPCM at 8 kHz, 4 bits a sample: 10 minutes are 2.4 MB, and the page decodes it in a
few lines. All blocks are encoded at once, which numpy can do and a codec of a library cannot.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from cartesia_ink_plugins.observe.reader import RecordedAudio

Samples = npt.NDArray[np.int16]

RATE = 8_000
"""Of the embedded sound, in Hz."""
BLOCK = 256
"""Samples of a block, each of which can be decoded by itself."""
PEAKS_A_SECOND = 12  # wider than a pixel only when zoomed in

# The tables of IMA ADPCM.
STEPS = np.array(
    [
        *(7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60),
        *(66, 73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371),
        *(408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707),
        *(1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132),
        *(7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623),
        *(27086, 29794, 32767),
    ],
    np.int32,
)
_CHANGES = np.array([-1, -1, -1, -1, 2, 4, 6, 8], np.int32)


def embedded(sound: RecordedAudio) -> str:
    """The sound of both channels together, as the page takes it: ADPCM in base64."""
    both = (at_rate(channel, sound.sample_rate) for channel in (sound.caller, sound.bot))
    return base64.b64encode(adpcm(np.clip(sum(both), -32768, 32767).astype(np.int32))).decode()


def at_rate(samples: Samples, rate: int) -> npt.NDArray[np.float32]:
    """Samples at 8 kHz: means of as many as fit, and a straight line between two of these."""
    whole = max(1, rate // RATE)
    size = len(samples) // whole * whole
    values = np.zeros(size // whole, np.float32)
    for first in range(whole):
        values += samples[first:size:whole]
    values /= whole
    step = rate / whole / RATE
    if step == 1:
        return values
    places = np.arange(int(len(values) / step)) * step
    return np.asarray(np.interp(places, np.arange(len(values)), values), np.float32)


def adpcm(samples: npt.NDArray[np.integer[Any]]) -> bytes:
    """Encode samples.

    Args:
        samples: Within 16 bits.

    Returns:
        Blocks of 132 bytes: the first sample (16 bits, little-endian), the first step's index, a
        zero, and 4 bits for each of the 256 samples, the lower half of a byte first.
    """
    count = -(-len(samples) // BLOCK)
    padded = np.zeros(count * BLOCK, np.int32)
    padded[: len(samples)] = samples
    blocks = padded.reshape(count, BLOCK)
    value = blocks[:, 0].copy()
    # A step that suits the first samples: a block knows nothing of the one before.
    change = np.abs(np.diff(blocks[:, :16], axis=1)).mean(axis=1)
    index = np.clip(np.searchsorted(STEPS, change), 0, len(STEPS) - 1).astype(np.int32)
    data = np.zeros((count, 4 + BLOCK // 2), np.uint8)
    data[:, 0], data[:, 1], data[:, 2] = value & 255, (value >> 8) & 255, index
    for at in range(BLOCK):
        step = STEPS[index]
        difference = blocks[:, at] - value
        code = np.minimum(np.abs(difference) * 4 // step, 7)
        change = (step >> 3) + (code * step >> 2)
        is_negative = difference < 0
        value = np.clip(value + np.where(is_negative, -change, change), -32768, 32767)
        index = np.clip(index + _CHANGES[code], 0, len(STEPS) - 1)
        bits = (code | (is_negative << 3)).astype(np.uint8)
        data[:, 4 + at // 2] |= bits << 4 if at % 2 else bits
    return data.tobytes()


def loudness(samples: Samples, rate: int) -> npt.NDArray[np.float64]:
    """The peaks of samples, 0 to 1, twelve a second."""
    size = max(1, rate // PEAKS_A_SECOND)
    pieces = samples[: len(samples) // size * size].reshape(-1, size)
    highest, lowest = pieces.max(axis=1, initial=0), pieces.min(axis=1, initial=0)
    return np.asarray(np.maximum(highest, -lowest.astype(np.float64)) / 32768)
