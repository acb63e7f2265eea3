"""Start a LiveKit agent as a newcomer does: with a key or without, and told what is missing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.server.speech.process import SpeechServer

_WORKS_FOR_A_SERVER = {"dev", "start", "connect"}
_ANSWERS_CALLS = {"console", *_WORKS_FOR_A_SERVER}
_SERVER = {
    "LIVEKIT_URL": "--url",
    "LIVEKIT_API_KEY": "--api-key",
    "LIVEKIT_API_SECRET": "--api-secret",
}
_INTERRUPTED = 130
_NEEDS_NO_SOUND = {"--help", "--text", "--list-devices"}


@contextmanager
def offline_without_key() -> Iterator[None]:
    """Have a local Ink server while the worker runs, unless there is a key for the real one.

    The calls, which are processes of their own, find it through their environment. What a person
    can mend is said in one line, and ends the program with status 2; Ctrl-C ends it with 130, which
    LiveKit by itself does not.
    """
    with _interruptible(), _offline():
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """End the program with status 130 if Ctrl-C has ended it, whoever handled that."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    # Python writes the number of every signal here, beside calling its handler.
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
        if arguments & _WORKS_FOR_A_SERVER and "--help" not in arguments:
            _check_server(arguments)
        if "console" in arguments and not arguments & _NEEDS_NO_SOUND:
            _check_sound()
        if os.environ.get("CARTESIA_API_KEY") or not arguments & _ANSWERS_CALLS:
            yield
            return
        _say("No CARTESIA_API_KEY: starting a local Ink server and an offline voice ...")
        with SpeechServer() as ink:
            os.environ.update(ink.environment())
            yield
    except InkError as error:
        _say(f"{os.path.basename(sys.argv[0])}: {error}")
        sys.exit(2)


def _check_server(arguments: set[str]) -> None:
    """See whether it is said which LiveKit server to work for."""
    unsaid = [
        name
        for name, option in _SERVER.items()
        if not os.environ.get(name) and option not in arguments
    ]
    if unsaid:
        raise UsageError(
            f"{', '.join(unsaid)}: not set; say which LiveKit server to work for. "
            "To do without one: console, or `make livekit`"
        )


def _check_sound() -> None:
    """See whether `console` has something to hear and speak with: it would end without a word."""
    try:
        import sounddevice

        for kind in ("input", "output"):
            sounddevice.query_devices(kind=kind)
    except Exception:  # no library, no device, or none that can be asked
        raise UsageError(
            "console: no microphone or no loudspeaker was found; to write instead: console --text"
        ) from None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
