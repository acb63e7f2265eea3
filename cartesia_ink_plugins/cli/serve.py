"""`cartesia-ink serve`: the local Ink server on the command line."""

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
_REMEMBERED = 100

_EPILOG = """\
engines:
  speech (the default) recognises real speech. It needs the extra [speech].
  script FILE knows beforehand what is said, and hears it only in audio made for it: write that
  with --audio FILE.wav and speak it to the server as often as you like.

a script is plain text, one turn a line:
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
  messages, raw text or a close code at a place of the audio, in one segment.

a fault is ACTION[=ARGUMENTS]@POINT[:AMOUNT][+DELAY][~SPREAD][*TIMES][#CONNECTION]:
  reset@turn.update:2               after the second update
  fin<turn.end                      just before the end of a turn
  close=1011@audio:3.5              when 3.5 s of audio have come
  refuse=503,2@connect*3            three times, with Retry-After: 2
  silence=6@turn.start+0.2~0.5      0.2 to 0.7 s after a turn started, for 6 s
  outage=14@audio:5                 away for 14 s; outage=14,-1 takes calls and never answers
  latency=0.1,0.05@connect*always   on every connection
  say=malformed@turn.start#0        only on the first connection
  actions  refuse reset fin close silence deaf half-open no-pongs latency throttle slice join
           ignore-close say close-all outage
  points   connect upgrade seconds audio bytes close connected turn.start turn.update
           turn.eager_end turn.resume turn.end error
  A wrong argument is answered with what there is.
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
        help="who hears the audio (speech)",
    )
    parser.add_argument("--audio", metavar="FILE.wav", help="write the audio of the script and end")
    parser.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help="accept only this key; may be given again (any key will do)",
    )
    parser.add_argument(
        "--idle-timeout", type=float, default=180.0, metavar="SECONDS", help="(%(default)g)"
    )
    parser.add_argument("--max-streams", type=int, metavar="N", help="refuse more with 429 (any)")
    parser.add_argument(
        "--any-speed",
        action="store_true",
        help="take audio faster than real time; the real service does not",
    )
    parser.add_argument(
        "--older-ranges", action="store_true", help="threshold ranges until September 2026"
    )
    parser.add_argument(
        "--extra-fields", action="store_true", help="send fields and types that nobody knows yet"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="let something go wrong, such as reset@turn.update:2; may be given again",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the chance in the faults (%(default)s)"
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin call; may be given again, * is all (this machine)",
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
        return _complain(f"{error.name} is missing: {install}")
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
            keep=_REMEMBERED,
            allow_origins=args.allow_origin,
        )
    except UsageError as error:
        return _complain(str(error))
    return run_loop(_serve(server, args))


async def _serve(server: InkServer, args: argparse.Namespace) -> int:
    """Serve until a signal comes; leave nothing behind."""
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stopped, status)
    try:
        await server.start()
    except (OSError, OverflowError) as error:
        await server.engine.aclose()
        code = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(code) if code and code > 0 else str(error)
        return _complain(f"cannot listen on {args.host}:{args.port}: {reason}")
    try:
        print(_welcome(server.url, args), flush=True)
        return await stopped
    finally:
        await server.stop()


def _stop(stopped: asyncio.Future[int], status: int) -> None:
    if not stopped.done():
        stopped.set_result(status)


def _engine(words: list[str]) -> tuple[Engine | Script, Script | None]:
    """Make the engine that was asked for.

    Raises:
        UsageError: There is no such engine, or it cannot be had.
    """
    match words:
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
            raise UsageError(f"--engine: {' '.join(words)!r} is neither speech nor script FILE")


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
        return _complain("--audio: only a script has audio; use --engine script FILE")
    try:
        with open(path, "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes(script.audio())
    except OSError as error:
        return _complain(f"--audio: cannot write {path}: {error.strerror}")
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
    """Shows on the terminal what happens on the connections."""

    def __init__(self) -> None:
        """Begin with no connection."""
        self._answered: set[int] = set()

    def watch(self, record: ConnectionRecord, item: WireItem | None) -> None:
        """Show one item that was sent, or how a connection began or ended."""
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
        # A caller chooses the text: it must not write to the terminal anything but text.
        print(f"{time.strftime('%H:%M:%S')} #{record.number} {printable(line)}", flush=True)


def _opening(record: ConnectionRecord) -> str:
    if record.status != 101:
        return f"refused with HTTP {record.status}: {record.client_error}"
    settings = " ".join(f"{k}={v}" for k, v in record.query if k != "cartesia_version")
    return f"open: {settings}"


def _complain(line: str) -> int:
    print(f"cartesia-ink serve: {line}", file=sys.stderr)
    return 2
