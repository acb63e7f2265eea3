"""`cartesia-ink demo`: a recorded caller books a table with an offline bot, in real time."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartesia_ink_plugins.core.client import InkTurnsClient
from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.core.events import Connected, DialFailed
from cartesia_ink_plugins.core.options import Credentials

if TYPE_CHECKING:
    from cartesia_ink_plugins.demo.telephone import Telephone
    from cartesia_ink_plugins.demo.voice import Voice

INSTALL = "pip install 'cartesia-ink-plugins[demo]'"

_EPILOG = """\
The bot is a small assistant that follows rules; the voices are synthetic and come with the package;
speech is recognised by a local Ink server. The pipeline (or the session) and the STT plugin in it
are the real ones. The caller pauses in mid-sentence once and interrupts the bot once.

exit status: 0 if the booking and everything else was right, 1 if not.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="play a booking call: a real bot, a recorded caller, no key, no network",
        description="Play a call in which a recorded caller books a table with an offline bot.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        "--save",
        type=Path,
        metavar="FILE.wav",
        help="where the call is recorded, caller left, bot right (demo-FRAMEWORK.wav)",
    )
    parser.add_argument("--verbose", action="store_true", help="show the framework's log")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if something was not as it had to be.
    """
    save = args.save or Path(f"demo-{args.framework}.wav")
    if not save.parent.is_dir():
        raise UsageError(f"{save.parent}: no such directory")
    if args.live:
        Credentials.from_environment()  # says at once that there is no key
    _quieten(verbose=args.verbose)
    try:
        return asyncio.run(_play(args.framework, live=args.live, save=save))
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: {INSTALL}") from None


async def _play(framework: str, *, live: bool, save: Path) -> int:
    from cartesia_ink_plugins.demo.caller import LINES, Caller
    from cartesia_ink_plugins.demo.local_ink import ANY_KEY, LocalInk
    from cartesia_ink_plugins.demo.report import report
    from cartesia_ink_plugins.demo.show import Live, table
    from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE, Telephone
    from cartesia_ink_plugins.demo.voice import Voice

    async with AsyncExitStack() as stack:
        where: dict[str, Any] = {}
        if live:
            await _reach()
        else:
            _say("Starting a local Ink server and loading the bot's voice ...")
            ink = await stack.enter_async_context(LocalInk())
            where = {"url": ink.url, "api_key": ANY_KEY}
        voice = await Voice.load(BOT_SAMPLE_RATE)
        stack.callback(voice.close)
        telephone = Telephone(Caller(), watch=Live())
        _say(
            f"Calling the bot in {'a Pipecat pipeline' if framework == 'pipecat' else 'LiveKit'}.\n"
        )
        await _hold_call(framework, telephone, voice, where)
    result = report(telephone.journal, LINES, date.today())
    _say("\n" + table(result, shutil.get_terminal_size((110, 24)).columns))
    try:
        telephone.save(save)
    except OSError as error:
        raise UsageError(f"{save}: {error.strerror}") from None
    _say(f"\nThe call is in {save}: the caller on the left, the bot on the right.")
    return 0 if result.passed else 1


async def _reach() -> None:
    """Make sure that Cartesia's Ink can be heard with, before anybody is called.

    Raises:
        InkError: It cannot be reached, or it refuses.
    """
    async with InkTurnsClient() as client:
        async for event in client:
            match event:
                case Connected():
                    return
                case DialFailed(reason=reason):
                    raise InkError(f"{client.options.base_url} cannot be reached: {reason}")


async def _hold_call(
    framework: str, telephone: Telephone, voice: Voice, where: dict[str, Any]
) -> None:
    if framework == "pipecat":
        from cartesia_ink_plugins.demo.pipecat_call import hold_pipecat_call
        from cartesia_ink_plugins.pipecat import InkTurnsSTTService

        await hold_pipecat_call(telephone, InkTurnsSTTService(**where), voice)
        return
    from cartesia_ink_plugins.demo.livekit_call import hold_livekit_call
    from cartesia_ink_plugins.livekit import STT

    if "url" in where:
        where = {"base_url": where["url"], "api_key": where["api_key"]}
    await hold_livekit_call(telephone, STT(**where), voice)


def _quieten(*, verbose: bool) -> None:
    """Leave the terminal to the call: of the frameworks' logs, only trouble is shown."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, stream=sys.stderr)
    if not verbose:
        # It warns of every withdrawn reply, which the call shows by itself.
        logging.getLogger("livekit.agents").setLevel(logging.ERROR)
    try:
        from loguru import logger
    except ImportError:
        return
    logger.remove()
    logger.add(sys.stderr, level="DEBUG" if verbose else "WARNING")


def _say(text: str) -> None:
    print(text, flush=True)
