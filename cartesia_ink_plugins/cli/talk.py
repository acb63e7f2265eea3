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
from cartesia_ink_plugins.cli.calls import answering_bot, check_place, quieten, recorded
from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.cli.recordings import RecordingError, open_recording
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError

if TYPE_CHECKING:
    from cartesia_ink_plugins.demo.caller import Caller
    from cartesia_ink_plugins.demo.journal import Note
    from cartesia_ink_plugins.demo.telephone import Telephone

_EPILOG = """\
The bot books tables, as in `cartesia-ink demo`. Interrupt it, change your mind; Ctrl-C hangs up and
shows what each turn took.

Wear headphones: a bot that hears its own voice through your microphone takes it for yours, and
falls silent. With loudspeakers say --no-interrupt, and it is deaf while it speaks.

exit status: 0 after a call, 1 if something failed in it, 2 if it could not begin.
"""

_LONGEST_CALL = 3600.0


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
        help="need no microphone: play recordings, each when the bot is done, then hang up",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE.wav",
        help="save the sound of the call, caller left, bot right; its timeline is written beside "
        "it, as .html and .ink (without --save as talk-FRAMEWORK.html)",
    )
    parser.add_argument(
        "--framework",
        choices=("pipecat", "livekit"),
        default="pipecat",
        help="whose pipeline the bot runs in (%(default)s)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="hear with Cartesia's Ink and the key in CARTESIA_API_KEY",
    )
    parser.add_argument(
        "--no-interrupt",
        action="store_true",
        help="for loudspeakers: the bot is deaf while it speaks",
    )
    for name in ("--microphone", "--speakers"):
        parser.add_argument(
            name,
            type=_device,
            metavar="NAME",
            help="a device, by name or number, as `python -m sounddevice` lists them",
        )
    parser.add_argument("--verbose", action="store_true", help="show the framework's log")
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
        Credentials.from_environment()  # says at once that there is no key
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
    """A telephone for recordings."""
    from cartesia_ink_plugins.demo.show import Live
    from cartesia_ink_plugins.demo.telephone import Telephone

    return Telephone(caller, watch=Live(), longest=_LONGEST_CALL)


def _with_microphone(args: argparse.Namespace, stack: ExitStack) -> Telephone:
    """A telephone for a person."""
    from cartesia_ink_plugins.demo.journal import Happening
    from cartesia_ink_plugins.demo.person import Person
    from cartesia_ink_plugins.demo.show import Live
    from cartesia_ink_plugins.demo.sound_card import SoundCard
    from cartesia_ink_plugins.demo.telephone import Telephone

    live = Live()
    try:
        card = stack.enter_context(SoundCard(args.microphone, args.speakers))
    except UsageError as error:
        raise UsageError(f"{error}; to talk with recordings, say --file FILE.wav") from None
    person = Person(card.read, interrupts=not args.no_interrupt)

    def watch(note: Note) -> None:
        person.follow(note)
        # He knows when he speaks; Ink's side of it is worth a line.
        if note.what is not Happening.CALLER_SPEAKS:
            live(note)

    return Telephone(person, watch=watch, hear=card.play, longest=_LONGEST_CALL)


def _recorded(files: Sequence[Path]) -> tuple[Caller, list[RecordingError]]:
    """A caller who says one recording after the other, whatever is in it.

    Returns:
        The caller, and what was wrong with recordings of which some could be read.

    Raises:
        RecordingError: Nothing could be read.
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
    """Hang up at the first Ctrl-C; at the second, the program ends as any other."""
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
    """What was heard and answered, and what it took."""
    from cartesia_ink_plugins.demo.report import Report, report
    from cartesia_ink_plugins.demo.show import table

    lines = [spoken.line for spoken in telephone.caller.spoken]
    result = report(telephone.journal, lines, date.today())
    exchanges = tuple(
        replace(exchange, said=exchange.heard.strip())
        for exchange in result.exchanges
        if exchange.heard.strip()
    )
    if not exchanges:
        return "No word was heard."
    width = shutil.get_terminal_size((110, 24)).columns
    return table(Report(exchanges, (), result.booking), width).rstrip()
