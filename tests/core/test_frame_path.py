"""How far a frame of audio travels: few calls, few files, one look at the session's outputs."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

import cartesia_ink_plugins
from cartesia_ink_plugins import Credentials, Event, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins.testing import InkServer, Script

PACKAGE = str(Path(cartesia_ink_plugins.__file__).parent)
KEY = Credentials(api_key="any")
FRAMES = 100
FRAME_SECONDS = 0.02
MAX_CALLS = 14
MAX_FILES = 6


class CallCounter:
    """Counts the Python calls of this package, as a profiler sees them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            self.calls.append((code.co_filename.removeprefix(PACKAGE), code.co_name))


async def test_a_frame_reaches_the_socket_in_few_calls_of_few_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths: list[list[tuple[str, str]]] = []
    events: list[Event] = []
    async with InkServer(Script("Hello there.")) as server:
        options = TurnsOptions(base_url=server.url)
        async with InkTurnsClient(options, KEY, on_event=events.append) as ink:
            while not ink.is_connected:
                await asyncio.sleep(0.01)
            frame = options.format.silence(FRAME_SECONDS)
            loop = asyncio.get_running_loop()
            start = loop.time()
            for number in range(FRAMES):
                counter = CallCounter()
                # Frames arrive at an even pace, however busy the machine is.
                monkeypatch.setattr(loop, "time", lambda at=start + number * FRAME_SECONDS: at)
                sys.setprofile(counter)
                try:
                    ink.send_audio(frame)
                finally:
                    sys.setprofile(None)
                    monkeypatch.undo()
                paths.append(counter.calls)
            assert ink.snapshot().pending == 0
    # Half of the frames also bring a position, housekeeping or the analysis of the audio with them.
    [(typical, _)] = Counter(map(tuple, paths)).most_common(1)
    assert len(typical) <= MAX_CALLS, typical
    assert len({file for file, _ in typical}) <= MAX_FILES, typical
    drives = Counter(name for calls in paths for _, name in calls)["_drive"]
    assert drives == FRAMES, "the client reads the session's outputs once a frame"
