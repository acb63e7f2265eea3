"""Reads recordings: complete ones, and folders that a crash has left behind.

call = read_recording("call.ink")
for moment in call.of("event"):
    print(f"{moment.t:.2f} s", moment.fields["event"])
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.json_text import json_object
from cartesia_ink_plugins.observe.folder import FORMAT_VERSION, META, SESSION
from cartesia_ink_plugins.observe.sound import CHANNELS, Pcm

_NUMBERS = ("t", "kind", "session", "connection", "turn")
_BLOCK = 4096  # frames that are read at once, so that all before a damaged one are read
_WAV_HEADER = 44  # bytes
# Bytes; a recording may come from anywhere. Eight hours of two channels are 1.8 GB as WAV.
_MAX_SIZES = {META: 2**20, SESSION: 2**30}
_MAX_SOUND = 2**32
# What damaged files make of the standard library and of the decoder.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    EOFError,
    RuntimeError,  # of an encrypted zip, and of the decoder of FLAC
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class RecordedMoment:
    """One line of `session.jsonl`.

    Attributes:
        t: Seconds since the recording's start.
        kind: As `MomentKind`, with `_` for spaces; also `audio`, `dropped`, `ended`.
        session: Number of the client in the call, from 1; 0 for the recorder itself.
        connection: Number of the connection in the session, from 1; 0 before the first.
        turn: Number of the turn that is open or was the last, from 1; 0 before the first.
        fields: The payload; see docs/recording.md.
    """

    t: float
    kind: str
    session: int = 0
    connection: int = 0
    turn: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordingMeta:
    """What `meta.json` says.

    Attributes:
        format: Version of the format.
        epoch: Wall-clock time of the start, in seconds since 1970.
        options: What the first connection asked for, without secrets.
        versions: Of the packages that took part.
        text: How the user's words were recorded: `full`, `hash` or `none`.
        is_complete: Whether the recording was ended, and not cut off.
        sample_rate: Of the sound, in Hz; None where there is none.
        audio_start: Second of the call at which the sound begins.
        audio: Name of the sound's file.
    """

    format: int
    epoch: float
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    text: str
    is_complete: bool
    sample_rate: int | None = None
    audio_start: float = 0.0
    audio: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedAudio:
    """The sound of a call.

    Attributes:
        sample_rate: In Hz.
        start: Second of the call at which both channels begin.
        caller: What was handed to the STT, 16-bit samples.
        bot: What the bot said, as far as the framework lets us hear it, 16-bit samples.
    """

    sample_rate: int
    start: float
    caller: Pcm
    bot: Pcm


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A recording that was read.

    Attributes:
        path: Where it is.
        meta: What it begins with.
        moments: What happened, in order.
    """

    path: Path
    meta: RecordingMeta
    moments: tuple[RecordedMoment, ...]

    @property
    def seconds(self) -> float:
        """How long the call was."""
        return max((moment.t for moment in self.moments), default=0.0)

    def of(self, *kinds: str) -> Iterator[RecordedMoment]:
        """The moments of some kinds, in order."""
        return (moment for moment in self.moments if moment.kind in kinds)

    def time_of(self, position: float, session: int = 1) -> float:
        """Return the second of the call at which a place in the stream was spoken.

        Args:
            position: Seconds of the stream.
            session: Whose stream.
        """
        offset = 0.0
        for moment in self.of("audio"):
            start, at = moment.fields["position"], moment.fields["at"]
            if moment.session == session and start <= position + 1e-6:
                offset = at - start
        return position + offset

    def audio(self) -> RecordedAudio | None:
        """Read the sound; None where none was recorded.

        Raises:
            UsageError: It is damaged, or it is FLAC, and `soundfile` is not installed.
        """
        if self.meta.audio is None or self.meta.sample_rate is None:
            return None
        try:
            data = _Files(self.path).read(self.meta.audio)
            frames = _wav_frames(data) if self.meta.audio.endswith(".wav") else _flac_frames(data)
        except _DAMAGED as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{self.path}: the sound is damaged ({error})") from None
        start = self.meta.audio_start
        return RecordedAudio(self.meta.sample_rate, start, frames[:, 0], frames[:, 1])


def read_recording(path: str | os.PathLike[str]) -> RecordedCall:
    """Read a recording, without its sound.

    Raises:
        UsageError: There is none, or it was made by a newer version.
    """
    files = _Files(Path(path))
    try:
        meta = json.loads(files.read(META))
        if meta["format"] > FORMAT_VERSION:
            raise UsageError(f"{path}: has format {meta['format']}; upgrade to read it")
        known = {name: meta[name] for name in RecordingMeta.__slots__ if name in meta}
        moments = tuple(_moments(files.read(SESSION)))
        return RecordedCall(Path(path), RecordingMeta(**known), moments)
    except _DAMAGED as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: is no recording ({error})") from None


class _Files:
    """The files of a recording, in a folder or a zip."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not the name of a file in it")
        limit = _MAX_SIZES.get(name, _MAX_SOUND)
        if self._path.is_dir():
            with (self._path / name).open("rb") as file:
                data = file.read(limit + 1)
        else:
            with zipfile.ZipFile(self._path) as archive, archive.open(name) as file:
                data = file.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"{name} has more than {limit >> 20} MiB")
        return data


def _moments(data: bytes) -> Iterator[RecordedMoment]:
    for line in data.splitlines():
        values = json_object(line)
        if values is None:
            continue  # the crash came in the middle of it
        numbers = {name: values.pop(name) for name in _NUMBERS if name in values}
        yield RecordedMoment(**numbers, fields=values)


def _wav_frames(data: bytes) -> Pcm:
    width = 2 * CHANNELS
    size = (len(data) - _WAV_HEADER) // width * width
    return np.frombuffer(data, "<i2", size // 2, _WAV_HEADER).reshape(-1, CHANNELS)


def _flac_frames(data: bytes) -> Pcm:
    try:
        import soundfile
    except ImportError:
        raise UsageError("the sound is FLAC; to read it: pip install soundfile") from None
    blocks = [np.zeros((0, CHANNELS), np.int16)]
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        while True:
            try:
                block = file.read(_BLOCK, dtype="int16")
            except soundfile.LibsndfileError:
                break  # it was cut off here
            if not len(block):
                break
            blocks.append(block)
    return np.concatenate(blocks)
