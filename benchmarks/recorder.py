"""What a recording costs: CPU of one call, and bytes a minute.

    python -m benchmarks.recorder

A conversation of recorded speech is told to a recorder as the taps of a client are told of it, in
frames of 20 ms, faster than real time: the caller and the bot take turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soxr

from cartesia_ink_plugins.core.options import TurnsOptions
from cartesia_ink_plugins.core.stats import NO_NUMBERS
from cartesia_ink_plugins.core.tap import (
    BotAudio,
    InputAudio,
    Moment,
    MomentKind,
    SentAudio,
    SessionStart,
)
from cartesia_ink_plugins.demo import caller
from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.recorder import Recorder

_FRAME = 0.02  # seconds
_MINUTES = 5
_WRITE_EVERY = 500  # frames after which the recorder gets the time to write


def measure(rate: int) -> None:
    """Record a conversation at a rate in Hz, and print what it cost."""
    recorded = [np.frombuffer(caller.recording(line), np.int16) for line in caller.LINES]
    # Not by interpolation, whose images above 8 kHz no microphone hears and FLAC has to keep.
    speech = soxr.resample(np.concatenate(recorded), 16_000, rate)
    size = round(rate * _FRAME)
    path = Path(tempfile.mkdtemp()) / "call.ink"
    recorder = Recorder(RecordOptions(path))
    tap = recorder.tap()
    options = TurnsOptions(sample_rate=rate)
    start = SessionStart("bench", options, time.time(), lambda: NO_NUMBERS)
    began = time.process_time()
    tap.on(Moment(0.0, MomentKind.STARTED, 0, 0, start))
    frames = round(_MINUTES * 60 / _FRAME)
    for number in range(frames):
        now = number * _FRAME
        first = number * size % (len(speech) - 5 * size)
        pcm = speech[first : first + size].tobytes()
        is_caller = now % 20 < 10
        silent = bytes(len(pcm))
        heard = pcm if is_caller else silent
        span = (now, now + _FRAME, _FRAME)
        tap.on(Moment(now + _FRAME, MomentKind.SENT, 1, 1, SentAudio(*span, heard)))
        tap.on(Moment(now + _FRAME, MomentKind.AUDIO, 1, 1, InputAudio(*span, heard)))
        if not is_caller:
            tap.on(Moment(now, MomentKind.BOT_AUDIO, 1, 1, BotAudio(pcm, rate)))
        if number % _WRITE_EVERY == 0:
            time.sleep(0.26)
    recorder.close(30.0)
    share = (time.process_time() - began) / (_MINUTES * 60)
    size_a_minute = path.stat().st_size / _MINUTES / 1e6
    print(f"{rate} Hz: {share:.2%} of a core, {size_a_minute:.2f} MB a minute")


def main() -> None:
    """Measure at the rates of telephones, microphones and LiveKit's rooms."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for rate in (8_000, 16_000, 24_000):
        measure(rate)


if __name__ == "__main__":
    main()
