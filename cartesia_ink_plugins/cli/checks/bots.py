"""What is in force in a bot's file: who ends a turn, what works twice, and the sample rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.cli.checks.livekit_bot import check_livekit
from cartesia_ink_plugins.cli.checks.pipecat_bot import check_pipecat
from cartesia_ink_plugins.cli.checks.source import Source
from cartesia_ink_plugins.core.errors import UsageError

_CHECKS = {"pipecat": check_pipecat, "livekit": check_livekit}


def extras_of(paths: list[Path]) -> list[str]:
    """The extras that bots need, by what they import; of files that cannot be read, none."""
    found = set()
    for path in paths:
        try:
            source = Source(path)
        except UsageError:
            continue
        found |= {name for name in _CHECKS if source.imports(f"cartesia_ink_plugins.{name}")}
    return sorted(found)


def check_bot(path: Path) -> Iterator[Finding]:
    """Read a bot's file; it is not run.

    Args:
        path: The file in which the service and the pipeline, or the STT and the session, are made.
    """
    try:
        source = Source(path)
    except UsageError as error:
        yield Finding("bot", Status.PROBLEM, str(error), "name the Python file of a bot")
        return
    found = [
        replace(one, message=f"{path.name}: {one.message}")
        for package, check in _CHECKS.items()
        if source.imports(package) or source.imports(f"cartesia_ink_plugins.{package}")
        for one in check(source)
    ]
    yield from found or [
        Finding(
            "bot",
            Status.UNCHECKED,
            f"{path.name}: makes no STT of Pipecat or LiveKit",
            "name the file in which it is made",
        )
    ]
