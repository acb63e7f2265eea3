"""An adapter for any framework with audio input and turn output, in about sixty lines.

    cartesia-ink serve    # or the real service: set CARTESIA_API_KEY only
    export CARTESIA_BASE_URL=http://127.0.0.1:8700 CARTESIA_API_KEY=any
    python examples/plain_adapter.py recording.wav

`TurnAdapter` is what a framework's plugin consists of: audio frames of any rate and number of
channels go in, three callbacks come out. Reconnecting, replay, downmix, encoding, the rate of the
first frame and the count of billed seconds are the client's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass, field

if __name__ == "__main__":
    # Until the event loop runs, Ctrl-C ends the program at once.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from cartesia_ink_plugins import (
    Event,
    FrameConverter,
    InkTurnsClient,
    RejectedError,
    TurnEagerEnd,
    TurnEnd,
    TurnStart,
    TurnUpdate,
    UsageMeter,
)


@dataclass
class TurnAdapter:
    """Converts audio frames to turns.

    Attributes:
        on_start: The user began to speak: interrupt the bot.
        on_text: Text of the turn so far, and whether a reply may be begun with it.
        on_end: The final text of the turn.
    """

    on_start: Callable[[], None]
    on_text: Callable[[str, bool], None]
    on_end: Callable[[str], None]
    client: InkTurnsClient = field(default_factory=InkTurnsClient)
    _usage: UsageMeter = field(default_factory=UsageMeter)
    _converter: FrameConverter | None = None

    async def start(self) -> None:
        """Start to connect; returns at once."""
        self.client.on_event = self._receive
        self.client.start()

    def push_frame(self, pcm: bytes, sample_rate: int, channels: int = 1) -> None:
        """Send a 16-bit frame; the first one sets the sample rate."""
        if self._converter is None:
            self.client.set_sample_rate(sample_rate)
            self._converter = FrameConverter(self.client.options.format)
        self.client.send_audio(self._converter.encode(pcm, channels))

    async def stop(self, timeout: float = 5.0) -> float:
        """Wait for the last turn; return the billed seconds of audio."""
        await self.client.finish(timeout)
        if self.client.rejection is not None:
            raise self.client.rejection
        return self._usage.take(self.client.snapshot())

    def _receive(self, event: Event) -> None:
        match event:
            case TurnStart():
                self.on_start()
            case TurnUpdate(transcript=text):
                self.on_text(text, False)
            case TurnEagerEnd(transcript=text):
                self.on_text(text, True)
            case TurnEnd(transcript=text):
                self.on_end(text)


async def main(path: str) -> int:
    adapter = TurnAdapter(
        on_start=lambda: print("[the user speaks]"),
        on_text=lambda text, may_reply: print("...", text, "(a reply may begin)" * may_reply),
        on_end=lambda text: print(">>>", text),
    )
    await adapter.start()
    with wave.open(path) as recording:
        rate, channels = recording.getframerate(), recording.getnchannels()
        while pcm := recording.readframes(rate // 50):
            adapter.push_frame(pcm, rate, channels)
            await asyncio.sleep(0.02)
    try:
        print(f"[{await adapter.stop():.1f} s of audio were sent]")
    except RejectedError as error:
        print(f"plain_adapter: the server rejects the session: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: plain_adapter.py RECORDING.wav")
    sys.exit(asyncio.run(main(sys.argv[1])))
