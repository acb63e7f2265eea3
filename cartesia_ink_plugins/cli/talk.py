"""`cartesia-ink talk`: talk to the offline bot, with a microphone or with recordings."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from cartesia_ink_plugins.cli import tools
from cartesia_ink_plugins.cli.calls import (
    add_call_arguments,
    answering_bot,
    check_place,
    quieten,
    recorded,
)
from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.cli.recordings import RecordingError, open_recording
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError

if TYPE_CHECKING:
    from cartesia_ink_plugins.demo.caller import Caller
    from cartesia_ink_plugins.demo.journal import Note
    from cartesia_ink_plugins.demo.telephone import Telephone

_EPILOG = """\
The bot books tables, as in `cartesia-ink demo`. Interrupt it or change a fact; Ctrl-C hangs up and
prints the latency of each turn.

Use headphones: otherwise the bot takes its own voice in your microphone for yours and stops. With
loudspeakers use --no-interrupt, which mutes the microphone while the bot speaks.

exit status: 0 after a call, 1 after an error in it, 2 if it could not begin.
"""

_LONGEST_CALL = 3600.0  # seconds


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `talk` to the command line."""
    parser = subparsers.add_parser(
        "talk",
        help="talk to the bot yourself: microphone and speakers, or recordings",
        description="Talk to the offline bot, with a microphone or with recordings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--file",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="play recordings instead of a microphone, each when the bot is silent, then hang up",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE.wav",
        help="save the sound of the call, caller left, bot right; its timeline is written beside "
        "it, as .html and .ink (without --save as talk-FRAMEWORK.html)",
    )
    add_call_arguments(parser)
    parser.add_argument(
        "--no-interrupt",
        action="store_true",
        help="for loudspeakers: mute the microphone while the bot speaks",
    )
    for name in ("--microphone", "--speakers"):
        parser.add_argument(
            name,
            type=_device,
            metavar="NAME",
            help="a device, by name or number, as `python -m sounddevice` lists them",
        )
    parser.set_defaults(run=run)


def _device(name: str) -> str | int:
    return int(name) if name.isdecimal() else name


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status.
    """
    check_place(_sound(args))
    if args.live:
        Credentials.from_environment()  # raises if there is no key
    quieten(verbose=args.verbose)
    try:
        with ExitStack() as stack:
            if args.file:
                caller, failures = _recorded(args.file)
                telephone = _answering(caller)
            else:
                telephone, failures = _with_microphone(args, stack), []
            status = run_loop(_talk(args, telephone))
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: {tools.DEMO}") from None
    if failures:
        raise failures[0]
    return status


def _sound(args: argparse.Namespace) -> Path:
    """The file of the call's sound; where none is asked for, its timeline is there all the same."""
    save: Path | None = args.save
    return save or Path(f"talk-{args.framework}.wav")


def _answering(caller: Caller) -> Telephone:
    """Return a call with a caller of recordings."""
    from cartesia_ink_plugins.demo.show import Live
    from cartesia_ink_plugins.demo.telephone import Telephone

    return Telephone(caller, watch=Live(), longest=_LONGEST_CALL)


def _with_microphone(args: argparse.Namespace, stack: ExitStack) -> Telephone:
    """Return a call with a person at the microphone."""
    from cartesia_ink_plugins.demo.journal import CallEvent
    from cartesia_ink_plugins.demo.person import Person
    from cartesia_ink_plugins.demo.show import Live
    from cartesia_ink_plugins.demo.sound_card import SoundCard
    from cartesia_ink_plugins.demo.telephone import Telephone

    live = Live()
    try:
        card = stack.enter_context(SoundCard(args.microphone, args.speakers))
    except UsageError as error:
        raise UsageError(f"{error}; to use recordings: --file FILE.wav") from None
    person = Person(card.read, interrupts=not args.no_interrupt)

    def watch(note: Note) -> None:
        person.follow(note)
        # A person knows when he speaks: show only Ink's events.
        if note.what is not CallEvent.CALLER_SPEAKS:
            live(note)

    return Telephone(person, watch=watch, play=card.play, longest=_LONGEST_CALL)


def _recorded(files: Sequence[Path]) -> tuple[Caller, list[RecordingError]]:
    """Return a caller who plays the recordings, one by one.

    Returns:
        The caller, and the errors of recordings that are damaged in part.

    Raises:
        RecordingError: No recording could be read.
    """
    from cartesia_ink_plugins.demo.caller import SAMPLE_RATE, Caller, Line

    lines: list[Line] = []
    audio: list[bytes] = []
    failures: list[RecordingError] = []
    for recording in [open_recording(path) for path in files]:
        pcm = bytearray()
        try:
            for frame in replace(recording, sample_rate=SAMPLE_RATE).frames():
                pcm += frame
        except RecordingError as error:
            failures.append(error)
        if pcm:
            lines.append(Line(recording.path.stem, recording.path.name))
            audio.append(bytes(pcm))
    if not audio:
        raise failures[0]
    return Caller(lines, audio=audio), failures


async def _talk(args: argparse.Namespace, telephone: Telephone) -> int:
    async with recorded(_sound(args)):
        async with answering_bot(args.framework, live=args.live) as hold:
            print("The bot answers. Ctrl-C hangs up.\n", flush=True)
            with _on_ctrl_c(telephone.hang_up):
                await hold(telephone)
        print("\n" + _summary(telephone) + "\n")
        if not telephone.caller.spoken and not args.file:
            print("`python -m sounddevice` lists the microphones; choose one with --microphone.")
        if args.save:
            try:
                telephone.save(args.save)
            except OSError as error:
                raise UsageError(f"{args.save}: {error.strerror}") from None
            print(f"The call is in {args.save}: you on the left, the bot on the right.")
    return 0


@contextmanager
def _on_ctrl_c(hang_up: Callable[[], None]) -> Iterator[None]:
    """Hang up at the first Ctrl-C; the second ends the program."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(hang_up)

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _summary(telephone: Telephone) -> str:
    """Return the table of transcripts, answers and latencies."""
    from cartesia_ink_plugins.demo.report import Report, report
    from cartesia_ink_plugins.demo.show import table

    lines = [spoken.line for spoken in telephone.caller.spoken]
    result = report(telephone.journal, lines, date.today())
    exchanges = tuple(
        replace(exchange, line=exchange.transcript.strip())
        for exchange in result.exchanges
        if exchange.transcript.strip()
    )
    if not exchanges:
        return "No words were recognized."
    width = shutil.get_terminal_size((110, 24)).columns
    return table(Report(exchanges, (), result.booking), width).rstrip()
