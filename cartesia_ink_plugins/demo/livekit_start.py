"""Starts an example LiveKit agent with or without an API key, and reports what is missing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.server.speech.process import SpeechServer

_NEEDS_SERVER = {"dev", "start", "connect"}
_ANSWERS_CALLS = {"console", *_NEEDS_SERVER}
_SERVER = {
    "LIVEKIT_URL": "--url",
    "LIVEKIT_API_KEY": "--api-key",
    "LIVEKIT_API_SECRET": "--api-secret",
}
_INTERRUPTED = 130
_NEEDS_NO_SOUND = {"--help", "--text", "--list-devices"}


@contextmanager
def offline_without_key() -> Iterator[None]:
    """Run a local Ink server while the worker runs, unless `CARTESIA_API_KEY` is set.

    The processes of the calls find it through their environment. A usage error is printed in one
    line and ends the program with status 2; Ctrl-C ends it with status 130, unlike LiveKit itself.
    """
    with _interruptible(), _offline():
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Exit with status 130 after Ctrl-C, whoever handled it."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    # Python writes the number of every signal to this pipe and also calls its handler.
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        with open(reading, "rb", buffering=0) as signals:
            if signal.SIGINT in signals.read():
                sys.exit(_INTERRUPTED)


@contextmanager
def _offline() -> Iterator[None]:
    arguments = {argument.partition("=")[0] for argument in sys.argv[1:]}
    try:
        if arguments & _NEEDS_SERVER and "--help" not in arguments:
            _check_server(arguments)
        if "console" in arguments and not arguments & _NEEDS_NO_SOUND:
            _check_sound()
        if os.environ.get("CARTESIA_API_KEY") or not arguments & _ANSWERS_CALLS:
            yield
            return
        _print("No CARTESIA_API_KEY: starting a local Ink server and an offline voice ...")
        with SpeechServer() as ink:
            os.environ.update(ink.environment())
            yield
    except InkError as error:
        _print(f"{os.path.basename(sys.argv[0])}: {error}")
        sys.exit(2)


def _check_server(arguments: set[str]) -> None:
    """Check that the LiveKit server is configured."""
    missing = [
        name
        for name, option in _SERVER.items()
        if not os.environ.get(name) and option not in arguments
    ]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: not set; they name the LiveKit server. "
            "Without a server: console, or `make livekit`"
        )


def _check_sound() -> None:
    """Check that `console` has audio devices; it would end without a message."""
    try:
        import sounddevice

        for kind in ("input", "output"):
            sounddevice.query_devices(kind=kind)
    except Exception:  # no library, no device, or no access
        raise UsageError(
            "console: no microphone or no loudspeaker found; to type instead: console --text"
        ) from None


def _print(text: str) -> None:
    sys.stderr.write(f"{text}\n")
