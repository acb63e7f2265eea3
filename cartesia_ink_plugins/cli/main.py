"""`cartesia-ink`: runs a command; an error becomes one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from cartesia_ink_plugins.cli import tools
from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.version import __version__

COMMANDS = tuple(tools.COMMANDS)
"""The commands in the order of the help; each is a module of this package."""

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

_EPILOG = """\
try first, with no key and no network:
  cartesia-ink demo                      a caller books a table by telephone
  cartesia-ink talk                      talk to the bot yourself
  cartesia-ink transcribe FILE.wav       turns of a recording, as they happen
  cartesia-ink serve                     an Ink server for your own bot

before the first call:
  cartesia-ink doctor BOT.py             what is wrong with this machine, key or bot

after a call that was recorded (INK_RECORD=calls/):
  cartesia-ink timeline calls/*.ink      when each event happened, and why a reply was slow
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit status: 0 for success, 1 for failure, 2 for invalid input, 130 after Ctrl-C.
    """
    _print_anything()
    parser = make_parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help(sys.stderr)
        return BAD_INPUT
    try:
        status = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except InkError as error:
        print(f"cartesia-ink {args.command}: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, UsageError) else FAILED
    except BrokenPipeError:
        # The reader closed our output; Python must not write the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return int(status)


def _print_anything() -> None:
    """Escape what cannot be encoded, such as half a surrogate pair in a transcript."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="cartesia-ink",
        description="Cartesia Ink speech-to-text: try it, test against it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cartesia-ink {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in COMMANDS:
        try:
            module = importlib.import_module(f"cartesia_ink_plugins.cli.{name}")
        except ModuleNotFoundError:
            _add_missing_parser(subparsers, name)
        else:
            module.add_parser(subparsers)
    return parser


def _add_missing_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str
) -> None:
    """Add a command of `cartesia-ink-tools`, which is not installed."""
    # With a null byte as prefix every argument is positional.
    parser = subparsers.add_parser(
        name, help=f"not installed: {tools.COMMANDS[name]}", prefix_chars="\0", add_help=False
    )
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=_not_installed)


def _not_installed(args: argparse.Namespace) -> int:
    raise UsageError(f"it is in a package of its own: {tools.COMMANDS[args.command]}")


if __name__ == "__main__":
    sys.exit(main())
