"""What a machine may lack: open files, and the files of the local models as they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.core.errors import MissingExtraError, UsageError

# A stream takes one file, what else a call of a framework takes comes on top; 256, the default of
# macOS, is reached by a few dozen calls.
_FEW_FILES = 1024


def check_machine() -> list[Finding]:
    """Look at the limit of open files and at the weights."""
    return [open_files(_file_limits()), *weights()]


def _file_limits() -> tuple[int, int] | None:
    """How many files may be open: now, and at most. None where nobody says."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    return (
        2**31 if soft == unlimited else soft,
        2**31 if hard == unlimited else hard,
    )


def open_files(limits: tuple[int, int] | None) -> Finding:
    """Judge the limit of open files.

    Args:
        limits: Now, and at most; None if they are not known.
    """
    if limits is None:
        return Finding("open files", Status.UNCHECKED, "this platform has no such limit to read")
    soft, hard = limits
    if soft >= _FEW_FILES:
        return Finding("open files", Status.OK, f"{soft} at a time")
    return Finding(
        "open files",
        Status.WARNING,
        f"only {soft} at a time; each call takes some",
        f"ulimit -n {min(hard, 4096)}, where the bot is started",
    )


def weights() -> Iterator[Finding]:
    """Compare the hashes of the weights that come from others' packages with the known ones."""
    yield from _weights("speech", "Whisper tiny.en", _recognition)
    yield from _weights("demo", "the offline voice", _voice)


def _recognition() -> None:
    from cartesia_ink_plugins.server.speech.weights import find_weights

    find_weights()


def _voice() -> None:
    from cartesia_ink_plugins.demo.voice import find_voice

    find_voice()


def _weights(extra: str, name: str, find: Callable[[], None]) -> Iterator[Finding]:
    try:
        find()
    except ImportError:
        yield Finding("weights", Status.UNCHECKED, f"{name}: [{extra}] is not installed")
    except MissingExtraError as error:
        yield Finding("weights", Status.UNCHECKED, str(error))
    except UsageError as error:
        yield Finding("weights", Status.PROBLEM, str(error))
    else:
        yield Finding("weights", Status.OK, f"{name}: the SHA-256 is the known one")
