"""`cartesia-ink serve`: the local Ink server."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import textwrap
import time
import wave
from typing import TYPE_CHECKING

from cartesia_ink_plugins.cli import tools
from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.log import printable

if TYPE_CHECKING:
    from cartesia_ink_plugins.server.app import InkServer
    from cartesia_ink_plugins.server.engine import Engine
    from cartesia_ink_plugins.server.frames import WireItem
    from cartesia_ink_plugins.server.record import ConnectionRecord
    from cartesia_ink_plugins.server.rules import Rules
    from cartesia_ink_plugins.server.script import Script

DEFAULT_PORT = 8765
_KEPT_RECORDS = 100  # ended connections whose records are kept

_EPILOG = """\
engines:
  speech (the default) recognizes real speech. It needs the extra [speech].
  script FILE recognizes only the audio of a script: write it with --audio FILE.wav.

a script is plain text, one turn per line:
  # lines like this are skipped; " ... " is a pause inside a turn
  Hello there.
  I'd like a table ... for two people.

or JSON, in a file named .json:
  {"turns": ["Hello there.",
             {"say": ["Tomorrow", 2.0, "at seven"], "gap": 0.5, "eager": false},
             {"noise": 0.5}],
   "timing": {"start_delay": 0.15, "eager_delay": 0.3, "end_delay": 0.8, "word_delay": 0.2},
   "cues": [{"at": 1.5, "send": [{"type": "turn.start"}, "{malformed", 1011], "connection": 0}]}
  A number in `say` is a pause in seconds, `noise` is sound without words, and a cue sends
  messages, raw text or a close code at a position of the audio, in one segment.

a fault is ACTION[=ARGUMENTS]@POINT[:AMOUNT][+DELAY][~SPREAD][*TIMES][#CONNECTION]:
  reset@turn.update:2               after the second update
  fin<turn.end                      just before the end of a turn
  close=1011@audio:3.5              after 3.5 s of audio
  refuse=503,2@connect*3            three times, with Retry-After: 2
  silence=6@turn.start+0.2~0.5      0.2 to 0.7 s after the start of a turn, for 6 s
  outage=14@audio:5                 no service for 14 s; outage=14,-1 accepts and never answers
  latency=0.1,0.05@connect*always   on every connection
  say=malformed@turn.start#0        only on the first connection
  actions  refuse reset fin close silence deaf half-open no-pongs latency throttle slice join
           ignore-close say close-all outage
  points   connect upgrade seconds audio bytes close connected turn.start turn.update
           turn.eager_end turn.resume turn.end error
  The error for an invalid argument lists the valid ones.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `serve` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run a local Ink server: no key, no network",
        description="Run a local Ink server that every Ink client can talk to: no key, no network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0: any (%(default)s)"
    )
    parser.add_argument(
        "--engine",
        nargs="+",
        default=["speech"],
        metavar=("speech|script", "FILE"),
        help="recognizes the audio (speech)",
    )
    parser.add_argument(
        "--audio", metavar="FILE.wav", help="write the audio of the script and exit"
    )
    parser.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help="accept only this key; can be repeated (any key)",
    )
    parser.add_argument(
        "--idle-timeout", type=float, default=180.0, metavar="SECONDS", help="(%(default)g)"
    )
    parser.add_argument(
        "--max-streams", type=int, metavar="N", help="reject more with 429 (no limit)"
    )
    parser.add_argument(
        "--any-speed",
        action="store_true",
        help="accept audio faster than real time; the real service does not",
    )
    parser.add_argument(
        "--older-ranges", action="store_true", help="threshold ranges until September 2026"
    )
    parser.add_argument(
        "--extra-fields", action="store_true", help="send undocumented fields and message types"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="inject a fault, such as reset@turn.update:2; can be repeated",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random values in faults (%(default)s)"
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="allow web pages of this origin; can be repeated, * is all (this machine)",
    )
    parser.add_argument("--quiet", action="store_true", help="do not show the turns")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 2 for bad input, 130 after Ctrl-C.
    """
    try:
        from cartesia_ink_plugins.server.app import InkServer
    except ImportError as error:
        extra = "pip install 'cartesia-ink-plugins[server]'"
        install = tools.SPEECH if args.engine == ["speech"] else extra
        return _error(f"{error.name} is missing: {install}")
    try:
        engine, script = _engine(args.engine)
        if args.audio:
            return _write_audio(script, args.audio)
        server = InkServer(
            engine,
            host=args.host,
            port=args.port,
            api_keys=args.api_key,
            rules=_rules(args),
            faults=args.fault,
            seed=args.seed,
            watch=None if args.quiet else Watcher().watch,
            keep=_KEPT_RECORDS,
            allow_origins=args.allow_origin,
        )
    except UsageError as error:
        return _error(str(error))
    return run_loop(_serve(server, args))


async def _serve(server: InkServer, args: argparse.Namespace) -> int:
    """Serve until a signal; leave no task or socket."""
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stopped, status)
    try:
        await server.start()
    except (OSError, OverflowError) as error:
        await server.engine.aclose()
        code = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(code) if code and code > 0 else str(error)
        return _error(f"cannot listen on {args.host}:{args.port}: {reason}")
    try:
        print(_welcome(server.url, args), flush=True)
        return await stopped
    finally:
        await server.stop()


def _stop(stopped: asyncio.Future[int], status: int) -> None:
    if not stopped.done():
        stopped.set_result(status)


def _engine(arguments: list[str]) -> tuple[Engine | Script, Script | None]:
    """Create the engine.

    Raises:
        UsageError: The name is unknown, or a package is missing.
    """
    match arguments:
        case ["speech"]:
            from cartesia_ink_plugins.server.speech import SpeechEngine

            return SpeechEngine(), None
        case ["script", path]:
            from cartesia_ink_plugins.server.script import Script

            script = Script.from_file(path)
            return script, script
        case ["script"]:
            raise UsageError("--engine script: name the file of the script")
        case _:
            raise UsageError(f"--engine: {' '.join(arguments)!r} is neither speech nor script FILE")


def _rules(args: argparse.Namespace) -> Rules:
    from cartesia_ink_plugins.server.rules import OLDER_RANGES, Rules, ThresholdRanges

    return Rules(
        idle_timeout=args.idle_timeout,
        max_streams=args.max_streams,
        overload_seconds=None if args.any_speed else Rules().overload_seconds,
        ranges=OLDER_RANGES if args.older_ranges else ThresholdRanges(),
        extra_fields=args.extra_fields,
    )


def _write_audio(script: Script | None, path: str) -> int:
    if script is None:
        return _error("--audio: only a script has audio; use --engine script FILE")
    try:
        with open(path, "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes(script.audio())
    except OSError as error:
        return _error(f"--audio: cannot write {path}: {error.strerror}")
    print(f"{path}: {len(script.turns)} turns, {script.seconds:.1f} s, 16-bit mono at 16 kHz")
    return 0


def _welcome(url: str, args: argparse.Namespace) -> str:
    key = "YOUR_KEY" if args.api_key else "any"
    address = f"{url.replace('http', 'ws', 1)}/stt/turns/websocket"
    return textwrap.dedent(
        f"""\
        Ink server at {url} ({" ".join(args.engine)}). Ctrl-C stops it.

          everywhere    export CARTESIA_BASE_URL={url} CARTESIA_API_KEY={key}
          plain Python  InkTurnsClient(TurnsOptions(base_url="{url}"))
          Pipecat       InkTurnsSTTService(api_key="{key}", url="{address}")
                        CartesiaTurnsSTTService(api_key="{key}", url="{address}")
          LiveKit       ink.STT(api_key="{key}", base_url="{url}")
                        cartesia.STT(api_key="{key}", base_url="{url}")
          Cartesia SDK  AsyncCartesia(api_key="{key}", base_url="{url}")
        """
    )


class Watcher:
    """Prints the events of the connections."""

    def __init__(self) -> None:
        """Start without connections."""
        self._answered: set[int] = set()

    def watch(self, record: ConnectionRecord, item: WireItem | None) -> None:
        """Print one sent item, or the start or end of a connection."""
        from cartesia_ink_plugins.core.wire import decode
        from cartesia_ink_plugins.server.engine import Close

        match item:
            case None if record.number not in self._answered:
                if record.status == 101:
                    self._answered.add(record.number)
                line = _opening(record)
            case None:
                self._answered.discard(record.number)
                line = f"closed {record.close_code} after {record.audio_seconds:.1f} s of audio"
            case Close():
                line = f"close {item.code} {item.reason}".rstrip()
            case _:
                message = decode(item)
                text = getattr(message, "transcript", getattr(message, "message", ""))
                line = f"{getattr(message, 'type', 'raw'):<15} {text}".rstrip()
        # The text comes from the client: escape control characters.
        print(f"{time.strftime('%H:%M:%S')} #{record.number} {printable(line)}", flush=True)


def _opening(record: ConnectionRecord) -> str:
    if record.status != 101:
        return f"rejected with HTTP {record.status}: {record.client_error}"
    settings = " ".join(f"{k}={v}" for k, v in record.query if k != "cartesia_version")
    return f"open: {settings}"


def _error(line: str) -> int:
    print(f"cartesia-ink serve: {line}", file=sys.stderr)
    return 2
