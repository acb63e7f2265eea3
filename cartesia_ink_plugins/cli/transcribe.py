"""`cartesia-ink transcribe`: the turns of recordings, as they would come in a call."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.cli.recordings import Recording, open_recording
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.events import (
    AudioGap,
    ConnectFailed,
    ErrorMessage,
    TurnEagerEnd,
    TurnEnd,
    TurnUpdate,
    Unreachable,
)
from cartesia_ink_plugins.core.log import printable
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.core.options import TurnsOptions

_EPILOG = """\
Recordings are sent in real time, as Ink requires. Each turn is printed verbatim when it ends: the
second and later turns begin with a space, so that all turns together are the whole text. On a
terminal, control characters are escaped.

With --json each turn is one JSON object per line: file, turn, transcript, and, in seconds of the
recording, speech_start, speech_end (null if unknown) and position, where the turn ended.

exit status: 0 if all was transcribed, 1 if audio was lost, a recording is damaged or the service
rejected the connection, 2 for invalid input.
"""

_FRAME_SECONDS = 0.02
_TAIL_SECONDS = 0.5
_DRAIN_SECONDS = 60.0  # no reply depends on it, so that slow machines are supported


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `transcribe` to the command line."""
    parser = subparsers.add_parser(
        "transcribe",
        help="print the turns of recordings (WAV, FLAC, MP3, Ogg)",
        description="Print the turns of recordings: through a local Ink server, or Cartesia's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        type=Path,
        help="WAV, FLAC, MP3, Ogg, AU; - is standard input",
    )
    parser.add_argument(
        "--live", action="store_true", help="use Cartesia's Ink with the key in CARTESIA_API_KEY"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each turn")
    parser.add_argument(
        "--keyterm",
        action="append",
        default=[],
        metavar="WORDS",
        help="words to expect; can be repeated",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if audio was lost.
    """
    recordings = [open_recording(path) for path in args.files]
    out = Out(args)
    run_loop(transcribe(recordings, live=args.live, keyterms=args.keyterm, out=out))
    return 1 if out.lost else 0


class Out:
    """Prints turns to standard output and progress to standard error.

    Attributes:
        lost: Seconds of audio that were not transcribed.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        """Print in the format of the arguments."""
        self.lost = 0.0
        self._last_error = ""
        self._json: bool = args.json
        self._is_terminal = sys.stderr.isatty()
        self._line = ""

    def begin(self, recording: Recording) -> None:
        """Announce a recording."""
        self._print(f"{recording.path}: {recording.length}")

    def progress(self, recording: Recording, position: float, text: str) -> None:
        """Show the position and the text, on a terminal."""
        if self._is_terminal:
            left = f"{recording.path.name}  {position:.1f} s of {recording.length} "
            text = printable(text)
            self._line = (left + text[-max(0, 78 - len(left)) :])[:79]
            print(f"\r\x1b[K{self._line}", end="", file=sys.stderr, flush=True)

    def turn(self, recording: Recording, event: TurnEnd, began: float) -> None:
        """Print a turn."""
        self._wipe()
        if not self._json:
            text = event.transcript
            print(printable(text) if sys.stdout.isatty() else text, flush=True)
            return
        timing = event.timing
        fields: dict[str, Any] = {"file": str(recording.path), "transcript": event.transcript}
        if timing is not None:
            fields |= {
                "turn": timing.turn,
                "speech_start": _seconds(timing.speech_start, began),
                "speech_end": _seconds(timing.speech_end, began),
                "position": round(timing.position, 3),
            }
        line = json.dumps(fields, ensure_ascii=False)
        print(line if line.isprintable() else json.dumps(fields), flush=True)

    def error(self, text: str) -> None:
        """Print an error, unless it repeats the last one; the transcription goes on."""
        if text != self._last_error:
            self._last_error = text
            self._print(text)

    def gap(self, recording: Recording, seconds: float) -> None:
        """Print that audio was lost."""
        self.lost += seconds
        self._print(f"{recording.path}: {seconds:.1f} s of audio were lost")

    def end(self) -> None:
        """Remove the progress line."""
        self._wipe()

    def _print(self, text: str) -> None:
        self._wipe()
        print(printable(text), file=sys.stderr, flush=True)

    def _wipe(self) -> None:
        if self._line:
            self._line = ""
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _seconds(moment: float | None, began: float) -> float | None:
    return round(moment - began, 3) if moment is not None else None


async def transcribe(
    recordings: Sequence[Recording], *, live: bool, keyterms: Sequence[str], out: Out
) -> None:
    """Transcribe recordings one by one, each over its own connection.

    Args:
        recordings: The recordings.
        live: Whether to use Cartesia's service; otherwise a local server.
        keyterms: Words to expect.
        out: Prints the turns.

    Raises:
        RecordingError: A recording is damaged or missing.
        RejectedError: The service rejected the connection.
        UsageError: There is no key, or the keyterms are invalid.
    """
    async with AsyncExitStack() as stack:
        where: dict[str, Any] = {}
        if live:
            credentials = Credentials.from_environment()
        else:
            from cartesia_ink_plugins.server.speech.process import ANY_KEY, SpeechServer

            where["base_url"] = (await stack.enter_async_context(SpeechServer())).url
            credentials = Credentials(api_key=ANY_KEY)
        stack.callback(out.end)
        for recording in recordings:
            options = TurnsOptions(sample_rate=recording.sample_rate, keyterms=keyterms, **where)
            async with InkTurnsClient(options, credentials) as client:
                await _transcribe_one(recording, client, out)


async def _transcribe_one(recording: Recording, client: InkTurnsClient, out: Out) -> None:
    out.begin(recording)
    began = time.time()
    interim = ""

    async def play() -> None:
        try:
            async for position in _play(recording, client):
                out.progress(recording, position, interim)
        except Exception:
            # Print the turns so far first: the events end when the client has ended.
            await client.finish(_DRAIN_SECONDS)
            raise
        await client.finish(_DRAIN_SECONDS)

    playing = asyncio.create_task(play())
    try:
        async for event in client:
            match event:
                case TurnEnd():
                    interim = ""
                    out.turn(recording, event, began)
                case TurnUpdate(transcript=text) | TurnEagerEnd(transcript=text):
                    interim = text
                case ConnectFailed(reason=reason):
                    out.error(f"{recording.path}: {reason}; trying again")
                case Unreachable(reason=reason, check=check):
                    out.error(f"{recording.path}: {reason}; check {check}")
                case AudioGap(seconds=seconds):
                    out.gap(recording, seconds)
                case ErrorMessage(message=message):
                    out.error(f"{recording.path}: the server reports: {message}")
        await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def _play(recording: Recording, client: InkTurnsClient) -> AsyncIterator[float]:
    """Send a recording and 0.5 s of silence in real time, so that its last turn ends."""
    began = time.monotonic()
    byte_rate = recording.sample_rate * 2
    sent = 0
    for pcm in recording.frames():
        client.send_audio(pcm)
        sent += len(pcm)
        yield sent / byte_rate
        await asyncio.sleep(max(0.0, began + sent / byte_rate - time.monotonic()))
    for _ in range(int(_TAIL_SECONDS / _FRAME_SECONDS)):
        client.send_audio(bytes(int(byte_rate * _FRAME_SECONDS) // 2 * 2))
        await asyncio.sleep(_FRAME_SECONDS)
