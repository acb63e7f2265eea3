"""This computer's microphone and loudspeakers, by PortAudio.

PortAudio calls from threads of its own whenever it has heard some milliseconds or wants some to
play. They and the conversation meet in two buffers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.demo.caller import SAMPLE_RATE
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE
from cartesia_ink_plugins.demo.voice import INSTALL

Device = str | int | None
"""A part of a device's name, or its number, as `python -m sounddevice` lists them; None for the
system's choice."""

# A voice that begins waits this long, so that it does not stutter when the conversation is late.
_HEAD_START = bytes(int(0.06 * BOT_SAMPLE_RATE) * 2)
# Seconds that a device may be late on a busy computer.
_LATENCY = 0.1
# What nobody has fetched for so long is old.
_KEPT = SAMPLE_RATE * 2 * 5


class SoundCard:
    """A microphone to read from and loudspeakers to play on, as long as the context is open."""

    def __init__(self, microphone: Device = None, loudspeakers: Device = None) -> None:
        """Choose the devices; nothing is opened yet.

        Args:
            microphone: Where to hear.
            loudspeakers: Where to play.
        """
        self._devices = microphone, loudspeakers
        self._lock = threading.Lock()
        self._heard = bytearray()
        self._waiting = bytearray()
        self._microphone: Any = None
        self._open = ExitStack()

    def read(self) -> bytes:
        """What the microphone has heard since the last call: 16-bit mono at 16 kHz.

        Raises:
            InkError: The microphone is gone.
        """
        with self._lock:
            heard = bytes(self._heard)
            self._heard.clear()
        if not heard and not self._microphone.active:
            raise InkError("the microphone is gone")
        return heard

    def play(self, pcm: bytes) -> None:
        """Play this, 16-bit mono at `BOT_SAMPLE_RATE`, after all that came before."""
        if not pcm:
            return
        with self._lock:
            self._waiting += pcm if self._waiting else _HEAD_START + pcm

    def __enter__(self) -> Self:
        """Open both.

        Raises:
            UsageError: There is no such device, or a library is missing.
        """
        with _quiet_libraries():
            try:
                import sounddevice
            except ImportError:
                raise UsageError(f"sounddevice is missing: {INSTALL}") from None
            except OSError:
                raise UsageError("PortAudio is missing: apt-get install libportaudio2") from None
            microphone, loudspeakers = self._devices
            with ExitStack() as opening:
                self._microphone = opening.enter_context(
                    _stream("microphone", sounddevice.RawInputStream, microphone, self._hear)
                )
                opening.enter_context(
                    _stream("loudspeaker", sounddevice.RawOutputStream, loudspeakers, self._say)
                )
                self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close both."""
        self._open.close()

    def _hear(self, pcm: Any, frames: int, time: object, status: object) -> None:
        with self._lock:
            self._heard += bytes(pcm)
            del self._heard[:-_KEPT]

    def _say(self, pcm: Any, frames: int, time: object, status: object) -> None:
        with self._lock:
            said = bytes(self._waiting[: len(pcm)])
            del self._waiting[: len(pcm)]
        pcm[:] = said.ljust(len(pcm), b"\0")


def _stream(what: str, kind: Any, device: Device, callback: Any) -> Any:
    import sounddevice

    rate = SAMPLE_RATE if what == "microphone" else BOT_SAMPLE_RATE
    try:
        return kind(
            samplerate=rate,
            blocksize=rate // 50,
            device=device,
            channels=1,
            dtype="int16",
            latency=_LATENCY,
            callback=callback,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        if device is None:
            raise UsageError(f"there is no {what}") from None
        raise UsageError(f"{what} {device!r}: {error}; see `python -m sounddevice`") from None


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Sound libraries write on standard error about every device that they look for in vain."""
    sys.stderr.flush()
    stderr = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)
