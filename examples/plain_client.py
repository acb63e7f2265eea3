"""Turns of a recording, with plain asyncio: `python examples/plain_client.py [FILE.wav]`.

With CARTESIA_API_KEY it hears with Cartesia's Ink. With no key it starts a local Ink server and
needs no network. Without a file it plays a recorded caller; a file must be 16-bit mono.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import wave
from contextlib import AsyncExitStack

if __name__ == "__main__":
    # Until the event loop runs, Ctrl-C ends the program at once: the imports take some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from cartesia_ink_plugins import (
    ConnectFailed,
    InkError,
    InkTurnsClient,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnsOptions,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.demo import caller
from cartesia_ink_plugins.server.speech.process import SpeechServer


async def speak(pcm: bytes, sample_rate: int, client: InkTurnsClient) -> None:
    """Send the recording in real time, as a microphone does."""
    size = sample_rate // 20 * 2  # 50 ms
    for start in range(0, len(pcm), size):
        client.send_audio(pcm[start : start + size])  # never blocks
        await asyncio.sleep(0.05)
    await client.finish(timeout=30)  # seconds, for the last words


async def listen(client: InkTurnsClient) -> None:
    """Print the turns."""
    async for event in client:
        match event:
            case TurnStart():
                print("turn.start      stop the bot, if it speaks")
            case TurnUpdate(transcript=words):
                print("turn.update    ", words)
            case TurnEagerEnd(transcript=words):
                print("turn.eager_end ", words, "(begin a reply)")
            case TurnResume():
                print("turn.resume     withdraw it")
            case TurnEnd(transcript=words):
                print("turn.end       ", words, "(speak the reply)")
            case ConnectFailed(reason=reason):
                print("not connected  ", reason, "(it goes on trying)")


def load(path: str) -> tuple[bytes, int]:
    """Return the audio of a WAV file and its sample rate in Hz."""
    try:
        with wave.open(path, "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) == (1, 2):
                return file.readframes(file.getnframes()), file.getframerate()
    except (OSError, EOFError, wave.Error):
        pass
    sys.exit(f"{path}: is no 16-bit mono WAV file that can be read")


async def main(pcm: bytes, sample_rate: int) -> None:
    """Transcribe one recording."""
    async with AsyncExitStack() as stack:
        if not os.environ.get("CARTESIA_API_KEY"):
            ink = await stack.enter_async_context(SpeechServer())
            os.environ.update(ink.environment())
        async with InkTurnsClient(TurnsOptions(sample_rate=sample_rate)) as client:
            await asyncio.gather(speak(pcm, sample_rate, client), listen(client))


if __name__ == "__main__":
    try:
        if len(sys.argv) > 1:
            recording = load(sys.argv[1])
        else:
            recording = caller.recording(caller.LINES[0]), caller.SAMPLE_RATE
        signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio handles it from here
        asyncio.run(main(*recording))
    except InkError as error:  # such as a wrong key
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
