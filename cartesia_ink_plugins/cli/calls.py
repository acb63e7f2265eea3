"""What `demo` and `talk` share: a call with the offline bot in either framework."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.core.events import Connected, ConnectFailed
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.files import write_page

if TYPE_CHECKING:
    from cartesia_ink_plugins.demo.telephone import Telephone
    from cartesia_ink_plugins.demo.voice import Voice

_RECORD = "INK_RECORD"
_COMPLETE_TIMEOUT = 3.0  # seconds for a recording to become one file after its call

Hold: TypeAlias = "Callable[[Telephone], Awaitable[None]]"
"""Runs the bot in a call until the caller hangs up."""


@asynccontextmanager
async def answering_bot(framework: str, *, live: bool) -> AsyncIterator[Hold]:
    """Start the bot of the demo.

    Args:
        framework: `pipecat` or `livekit`.
        live: Whether it uses Cartesia's Ink; otherwise it starts a local server.

    Raises:
        InkError: Cartesia's Ink cannot be reached or rejects the connection.
        UsageError: A package of the local server or the voice is missing.
    """
    from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE
    from cartesia_ink_plugins.demo.voice import Voice
    from cartesia_ink_plugins.server.speech.process import ANY_KEY, SpeechServer

    async with AsyncExitStack() as stack:
        where: dict[str, Any] = {}
        if live:
            await _check_connection()
        else:
            print("Starting a local Ink server and loading the bot's voice ...", flush=True)
            ink = await stack.enter_async_context(SpeechServer())
            where["url" if framework == "pipecat" else "base_url"] = ink.url
            where["api_key"] = ANY_KEY
        voice = await Voice.load(BOT_SAMPLE_RATE)
        stack.callback(voice.close)
        in_framework = _in_pipecat if framework == "pipecat" else _in_livekit
        yield in_framework(voice, where)


def _in_pipecat(voice: Voice, where: dict[str, Any]) -> Hold:
    from cartesia_ink_plugins.demo.pipecat_call import hold_pipecat_call
    from cartesia_ink_plugins.pipecat import InkTurnsSTTService

    async def hold(telephone: Telephone) -> None:
        await hold_pipecat_call(telephone, InkTurnsSTTService(**where), voice)

    return hold


def _in_livekit(voice: Voice, where: dict[str, Any]) -> Hold:
    from cartesia_ink_plugins.demo.livekit_call import hold_livekit_call
    from cartesia_ink_plugins.livekit import STT

    async def hold(telephone: Telephone) -> None:
        await hold_livekit_call(telephone, STT(**where), voice)

    return hold


async def _check_connection() -> None:
    """Connect to Cartesia's Ink once, before the call.

    Raises:
        InkError: It cannot be reached or rejects the connection.
    """
    async with InkTurnsClient() as client:
        async for event in client:
            match event:
                case Connected():
                    return
                case ConnectFailed(reason=reason):
                    raise InkError(f"{client.options.base_url} cannot be reached: {reason}")


@asynccontextmanager
async def recorded(sound: Path) -> AsyncIterator[None]:
    """Record a call and write its timeline beside its WAV file; print their paths.

    If `INK_RECORD` is set, it decides about recordings, and no timeline is written.

    Args:
        sound: The WAV file of the call.
    """
    if _RECORD in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_RECORD] = folder
        try:
            yield
        finally:
            del os.environ[_RECORD]
        recording, page = sound.with_suffix(".ink"), sound.with_suffix(".html")
        # A framework may have connected more than once; the call is the longest recording.
        found = [read_recording(path) for path in await to_thread(_completed, Path(folder))]
        if not found:
            return
        shutil.move(max(found, key=lambda call: len(call.moments)).path, recording)
        write_page(recording, page)
        print(f"The timeline of the call is in {page}, its recording in {recording}.", flush=True)


def _completed(folder: Path) -> list[Path]:
    """Wait at most 3 s until each recording in a folder is one file."""
    deadline = time.monotonic() + _COMPLETE_TIMEOUT
    while any(path.is_dir() for path in folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return sorted(folder.glob("*.ink"))


def check_place(file: Path) -> None:
    """Check, before the call, that its file can be written.

    Raises:
        UsageError: It cannot be written.
    """
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent}: no such directory")
    if file.is_dir():
        raise UsageError(f"{file}: is a directory")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{file}: cannot be written")


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a call with the bot."""
    parser.add_argument(
        "--framework",
        choices=("pipecat", "livekit"),
        default="pipecat",
        help="framework of the bot (%(default)s)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="use Cartesia's Ink with the key in CARTESIA_API_KEY",
    )
    parser.add_argument("--verbose", action="store_true", help="show the framework's log")


def quieten(*, verbose: bool) -> None:
    """Show only warnings and errors of the frameworks' logs, unless `verbose`."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, stream=sys.stderr)
    if not verbose:
        # It warns about every withdrawn reply, which the call itself shows.
        logging.getLogger("livekit.agents").setLevel(logging.ERROR)
    try:
        from loguru import logger
    except ImportError:
        return
    logger.remove()
    logger.add(sys.stderr, level="DEBUG" if verbose else "WARNING")
