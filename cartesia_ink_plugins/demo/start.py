"""Start an example as a newcomer does: with keys or without, and told plainly what is missing."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.demo.local_ink import LocalInk


@contextmanager
def offline_without_key() -> Iterator[None]:
    """Have a local Ink server for as long as the bot runs, unless there is a key for the real one.

    What a person can mend is said in one line, and ends the program with status 2.
    """
    try:
        _check_port()
        if os.environ.get("CARTESIA_API_KEY"):
            yield
            return
        _say("No CARTESIA_API_KEY: starting a local Ink server and an offline voice ...")
        with LocalInk() as ink:
            os.environ.update(ink.environment())
            yield
    except InkError as error:
        _say(f"{os.path.basename(sys.argv[0])}: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _check_port() -> None:
    """See whether the port that Pipecat's runner will listen on is free."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=7860)
    where, _ = parser.parse_known_args()
    if {"-h", "--help"} & set(sys.argv):
        return
    try:
        socket.create_server((where.host, where.port)).close()
    except OSError as error:
        raise UsageError(
            f"port {where.port} of {where.host}: {error.strerror}; take another with --port"
        ) from None
