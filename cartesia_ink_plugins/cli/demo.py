"""`cartesia-ink demo`: a recorded caller books a table with an offline bot, in real time."""

from __future__ import annotations

import argparse
import shutil
from datetime import date
from pathlib import Path

from cartesia_ink_plugins.cli import tools
from cartesia_ink_plugins.cli.calls import (
    add_call_arguments,
    answering_bot,
    check_place,
    quieten,
    recorded,
)
from cartesia_ink_plugins.cli.interrupt import run_loop
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError

_EPILOG = """\
The bot is a rule-based assistant, the voices are synthetic and included, and a local Ink server
recognizes the speech. The pipeline (or session) and its STT plugin are the real ones. The caller
pauses once in mid-sentence and interrupts the bot once.

exit status: 0 if every check passed, 1 if not.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="run a booking call: a real bot, a recorded caller, no key, no network",
        description="Run a call in which a recorded caller books a table with an offline bot.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_call_arguments(parser)
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE.wav",
        help="recording of the call, caller left, bot right (demo-FRAMEWORK.wav); its timeline "
        "is written beside it, as .html and .ink",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if a check failed.
    """
    save = args.save or Path(f"demo-{args.framework}.wav")
    check_place(save)
    if args.live:
        Credentials.from_environment()  # raises if there is no key
    quieten(verbose=args.verbose)
    try:
        return run_loop(_play(args.framework, live=args.live, save=save))
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: {tools.DEMO}") from None


async def _play(framework: str, *, live: bool, save: Path) -> int:
    from cartesia_ink_plugins.demo.caller import LINES, Caller
    from cartesia_ink_plugins.demo.report import report
    from cartesia_ink_plugins.demo.show import Live, table
    from cartesia_ink_plugins.demo.telephone import Telephone

    telephone = Telephone(Caller(), watch=Live())
    async with recorded(save):
        async with answering_bot(framework, live=live) as hold:
            where = "a Pipecat pipeline" if framework == "pipecat" else "LiveKit"
            _print(f"Calling the bot in {where}.\n")
            await hold(telephone)
        result = report(telephone.journal, LINES, date.today(), local=not live)
        _print("\n" + table(result, shutil.get_terminal_size((110, 24)).columns))
        try:
            telephone.save(save)
        except OSError as error:
            raise UsageError(f"{save}: {error.strerror}") from None
        _print(f"\nThe call is in {save}: the caller on the left, the bot on the right.")
    return 0 if result.passed else 1


def _print(text: str) -> None:
    print(text, flush=True)
