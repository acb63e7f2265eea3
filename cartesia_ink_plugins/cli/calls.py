"""What `demo` and `talk` have in common: a call with the offline bot in either framework."""

from __future__ import annotations

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
# Seconds that a recording may take to become one file when its call has ended.
_COMPLETE_TIMEOUT = 3.0

Hold: TypeAlias = "Callable[[Telephone], Awaitable[None]]"
"""Lets the bot answer a telephone, until the caller hangs up."""


@asynccontextmanager
async def answering_bot(framework: str, *, live: bool) -> AsyncIterator[Hold]:
    """Have the bot of the demo ready to answer.

    Args:
        framework: `pipecat` or `livekit`.
        live: It hears with Cartesia's Ink; otherwise with a local server of its own.

    Raises:
        InkError: Cartesia's Ink cannot be reached, or it refuses.
        UsageError: What the local server or the voice needs is not installed.
    """
    from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE
    from cartesia_ink_plugins.demo.voice import Voice
    from cartesia_ink_plugins.server.speech.process import ANY_KEY, SpeechServer

    async with AsyncExitStack() as stack:
        where: dict[str, Any] = {}
        if live:
            await _reach()
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
                case ConnectFailed(reason=reason):
                    raise InkError(f"{client.options.base_url} cannot be reached: {reason}")


@asynccontextmanager
async def recorded(sound: Path) -> AsyncIterator[None]:
    """Record a call and write its timeline, both beside its sound; say where they are.

    Where `INK_RECORD` is set, calls are recorded as it says, and there is no timeline.

    Args:
        sound: The file of the call's sound.
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
        print(f"What happened in it is in {page}, made of the recording {recording}.", flush=True)


def _completed(folder: Path) -> list[Path]:
    """Wait until each recording of a folder is one file, but not for long."""
    deadline = time.monotonic() + _COMPLETE_TIMEOUT
    while any(path.is_dir() for path in folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return sorted(folder.glob("*.ink"))


def check_place(file: Path) -> None:
    """See that the call can be saved, before there is one.

    Raises:
        UsageError: It cannot.
    """
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent}: no such directory")
    if file.is_dir():
        raise UsageError(f"{file}: is a directory")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{file}: cannot be written")


def quieten(*, verbose: bool) -> None:
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
