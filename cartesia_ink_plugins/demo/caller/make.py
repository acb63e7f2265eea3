"""Record the caller anew: `python -m cartesia_ink_plugins.demo.caller.make`.

The offline voice, 20 % slower and then played 14 % faster, so that its pitch is above the bot's. A
pause is the voice's own silence at a comma, extended, so that the intonation is that of an
unfinished sentence.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples
from cartesia_ink_plugins.demo.caller import LINES, SAMPLE_RATE, Line
from cartesia_ink_plugins.demo.voice import Voice, resample

HIGHER = 1.14
SLOWNESS = 1.2
EDGE_SECONDS = 0.1
COMPRESSION_LEVEL = 0.985
"""Of libsndfile, 0 to 1; about 10 kbit/s. At 0.99 the codec drops what is above 4 kHz."""


def main() -> int:
    """Write one Opus file for each line beside this file."""
    voice = Voice.load_now()
    for line in LINES:
        path = Path(__file__).with_name(f"{line.name}.opus")
        samples = record(voice, line)
        soundfile.write(
            path,
            samples,
            SAMPLE_RATE,
            format="OGG",
            subtype="OPUS",
            compression_level=COMPRESSION_LEVEL,
        )
        sys.stdout.write(f"{path.name}: {len(samples) / SAMPLE_RATE:.1f} s\n")
    voice.close()
    return 0


def record(voice: Voice, line: Line) -> Samples:
    """Synthesize one line in the caller's voice, at 16 kHz."""
    pcm = voice.synthesize(line.spoken_text, slowness=SLOWNESS)
    samples = AudioFormat(Encoding.PCM_S16LE, voice.sample_rate).decode(pcm)
    samples = _trim(resample(samples, voice.sample_rate * HIGHER, SAMPLE_RATE))
    if line.pause is not None:
        share = line.text.index("…") / len(line.text)
        samples = _stretch_silence(samples, around=share, seconds=line.pause)
    edge = np.zeros(int(EDGE_SECONDS * SAMPLE_RATE), np.float32)
    return np.concatenate([edge, samples, edge])


def _trim(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples


def _stretch_silence(samples: Samples, *, around: float, seconds: float) -> Samples:
    """Extend the quietest part near a share of the audio to `seconds`."""
    window = int(0.04 * SAMPLE_RATE)
    power = np.convolve(samples**2, np.ones(window) / window, "same")
    first, last = (int(len(samples) * (around + side)) for side in (-0.12, 0.12))
    middle = first + int(np.argmin(power[first:last]))
    quiet = power < max(float(power[middle]) * 4, 1e-5)
    start, end = middle, middle
    while start > first and quiet[start]:
        start -= 1
    while end < last and quiet[end]:
        end += 1
    gap = max(int(seconds * SAMPLE_RATE) - (end - start), 0)
    silence = np.zeros(gap, np.float32)
    return np.concatenate([samples[:middle], silence, samples[middle:]])


if __name__ == "__main__":
    sys.exit(main())
