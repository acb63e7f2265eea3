"""This computer's microphone and loudspeakers, by PortAudio.

PortAudio calls back from its own threads. Two buffers connect them with the event loop.
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
"""Part of a device's name, or its number, as in `python -m sounddevice`; None is the default."""

# Silence before speech begins, 60 ms, against underruns.
_HEAD_START = bytes(int(0.06 * BOT_SAMPLE_RATE) * 2)
# Seconds of latency that are asked of a device, against overruns on a busy machine.
_LATENCY = 0.1
# Bytes of captured audio that are kept: 5 s.
_KEPT = SAMPLE_RATE * 2 * 5


class SoundCard:
    """A microphone and loudspeakers, open within the context."""

    def __init__(self, microphone: Device = None, loudspeakers: Device = None) -> None:
        """Choose the devices; nothing is opened yet.

        Args:
            microphone: Input device.
            loudspeakers: Output device.
        """
        self._devices = microphone, loudspeakers
        self._lock = threading.Lock()
        self._captured = bytearray()
        self._waiting = bytearray()
        self._microphone: Any = None
        self._open = ExitStack()

    def read(self) -> bytes:
        """Return the audio captured since the last call: 16-bit mono at 16 kHz.

        Raises:
            InkError: The microphone was disconnected.
        """
        with self._lock:
            pcm = bytes(self._captured)
            self._captured.clear()
        if not pcm and not self._microphone.active:
            raise InkError("the microphone was disconnected")
        return pcm

    def play(self, pcm: bytes) -> None:
        """Queue audio, 16-bit mono at `BOT_SAMPLE_RATE`."""
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
                    _stream("microphone", sounddevice.RawInputStream, microphone, self._capture)
                )
                opening.enter_context(
                    _stream(
                        "loudspeaker", sounddevice.RawOutputStream, loudspeakers, self._play_back
                    )
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

    def _capture(self, pcm: Any, frames: int, time: object, status: object) -> None:
        with self._lock:
            self._captured += bytes(pcm)
            del self._captured[:-_KEPT]

    def _play_back(self, pcm: Any, frames: int, time: object, status: object) -> None:
        with self._lock:
            queued = bytes(self._waiting[: len(pcm)])
            del self._waiting[: len(pcm)]
        pcm[:] = queued.ljust(len(pcm), b"\0")


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
    """Suppress what sound libraries write to standard error about missing devices."""
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
