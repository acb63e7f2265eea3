"""What a stream that failed had not recognized goes to the stream that takes its place.

A `FallbackAdapter` opens the next stream in the task in which the former one failed, and so does a
session that opens its stream anew. LiveKit has no place for audio there, but a task has a context:
the failing stream leaves its audio in it, and the next stream of this package takes it. Streams of
other conversations are read by other tasks and never see it.
"""

from __future__ import annotations

import time
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import aio

from cartesia_ink_plugins.core.audio import downmix

Item: TypeAlias = "rtc.AudioFrame | stt.RecognizeStream._FlushSentinel"
"""What is pushed into a stream: audio, or the end of a segment."""

# Seconds that audio may wait for the next stream. LiveKit opens it at once, 0.5 s later (a session)
# or after `retry_interval`, 2 s by default (an adapter all of whose STTs have failed).
_VALID_FOR = 5.0


@dataclass(slots=True)
class Handover:
    """What of one conversation no STT has recognized.

    Attributes:
        room_rate: Sample rate of the audio that the conversation's streams are given, in Hz.
    """

    room_rate: int
    _items: list[Item] = field(default_factory=list)
    # Looked up when it is read: a replay has a clock of its own.
    _failed_at: float = field(default_factory=lambda: time.monotonic())
    _taken_by: weakref.WeakSet[stt.STT[Any]] = field(default_factory=weakref.WeakSet)

    def __bool__(self) -> bool:
        """Whether there is anything to hand over."""
        return bool(self._items)

    @property
    def is_open(self) -> bool:
        """Whether more can be added: no stream has taken it yet, and one still may."""
        return not self._taken_by and time.monotonic() - self._failed_at < _VALID_FOR

    def add(self, item: Item) -> None:
        """Add what was pushed into the failed stream: 16-bit audio, or the end of a segment."""
        if isinstance(item, rtc.AudioFrame) and item.num_channels > 1:
            self.add_pcm(downmix(item.data.tobytes(), item.num_channels), item.sample_rate)
        else:
            self._items.append(item)

    def add_pcm(self, pcm: bytes, sample_rate: int) -> None:
        """Add 16-bit mono audio."""
        if pcm:
            self._items.append(rtc.AudioFrame(pcm, sample_rate, 1, len(pcm) // 2))

    def at_rate(self, rate: int) -> list[Item]:
        """The items with the audio at a sample rate, in Hz.

        Frames that follow one another are resampled as one: each piece for itself would begin and
        end with a click.
        """
        items: list[Item] = []
        for source, run in groupby(self._items, _sample_rate):
            if source is None or source == rate:
                items.extend(run)
            else:
                frames = [item for item in run if isinstance(item, rtc.AudioFrame)]
                items.append(_resampled(frames, rate))
        return items


_offered: ContextVar[Handover | None] = ContextVar("ink_handover", default=None)


def offer(handover: Handover) -> None:
    """Leave audio for the next stream that this task opens."""
    _offered.set(handover)


def take(by: stt.STT[Any]) -> Handover | None:
    """Take the audio that was left in this task, once for each STT.

    A `FallbackAdapter` opens two streams after a failure: one of the STT that failed, to learn when
    it works again, and one of the next STT, whose transcripts count. Both can use the audio.
    """
    handover = _offered.get()
    if handover is None or by in handover._taken_by:
        return None
    if time.monotonic() - handover._failed_at > _VALID_FOR:
        _offered.set(None)
        return None
    handover._taken_by.add(by)
    return handover


def unsent(pushed: aio.Chan[Item], resampler: rtc.AudioResampler | None) -> list[Item]:
    """Take what was pushed into a stream and not sent.

    Args:
        pushed: The stream's input.
        resampler: Of the base class, in front of it. It holds 30 to 120 ms of audio.
    """
    items: list[Item] = []
    while not pushed.empty():
        items.append(pushed.recv_nowait())
    if resampler is not None:
        items.extend(resampler.flush())
    return items


def _sample_rate(item: Item) -> int | None:
    return item.sample_rate if isinstance(item, rtc.AudioFrame) else None


def _resampled(frames: list[rtc.AudioFrame], rate: int) -> rtc.AudioFrame:
    source = rtc.combine_audio_frames(frames)
    resampler = rtc.AudioResampler(source.sample_rate, rate, quality=rtc.AudioResamplerQuality.HIGH)
    return rtc.combine_audio_frames([*resampler.push(source), *resampler.flush()])
