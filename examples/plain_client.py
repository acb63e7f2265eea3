"""Turns of a recording, with nothing but asyncio: `python examples/plain_client.py [FILE.wav]`.

With CARTESIA_API_KEY it hears with Cartesia's Ink. With no key it starts a local Ink server and
needs no network. Without a file it plays a recorded caller; a file must be 16-bit mono.
"""

from __future__ import annotations

import asyncio
import os
import sys
import wave
from contextlib import AsyncExitStack
from pathlib import Path

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
from cartesia_ink_plugins.demo.local_ink import LocalInk

CALLER = Path(caller.__file__).with_name("1_date.wav")


async def speak(recording: wave.Wave_read, client: InkTurnsClient) -> None:
    """Play the recording in real time, as a microphone would give it."""
    frames = recording.getframerate() // 20
    while pcm := recording.readframes(frames):
        client.send_audio(pcm)  # returns at once, whatever the network does
        await asyncio.sleep(0.05)
    await client.finish(timeout=30)  # seconds; the last words are still to come


async def listen(client: InkTurnsClient) -> None:
    """Show what is heard."""
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


def check(path: Path) -> None:
    """Make sure that the recording can be sent as it is."""
    try:
        with wave.open(str(path), "rb") as recording:
            if (recording.getnchannels(), recording.getsampwidth()) == (1, 2):
                return
    except (OSError, EOFError, wave.Error):
        pass
    sys.exit(f"{path}: is no 16-bit mono WAV file that can be read")


async def main(path: Path) -> None:
    """Transcribe one recording."""
    check(path)
    async with AsyncExitStack() as stack:
        if not os.environ.get("CARTESIA_API_KEY"):
            ink = await stack.enter_async_context(LocalInk())
            os.environ.update(ink.environment())
        with wave.open(str(path), "rb") as recording:
            options = TurnsOptions(sample_rate=recording.getframerate())
            async with InkTurnsClient(options) as client:
                await asyncio.gather(speak(recording, client), listen(client))


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CALLER))
    except InkError as error:  # refused, such as for a wrong key
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
