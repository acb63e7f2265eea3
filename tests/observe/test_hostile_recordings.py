"""Recordings that come from elsewhere, and messages that no file can hold as they are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.observe import reader
from cartesia_ink_plugins.observe.options import RecordOptions
from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.wording import Wording

META = {
    "format": 1,
    "epoch": 0.0,
    "options": {},
    "versions": {},
    "text": "full",
    "is_complete": True,
    "sample_rate": 16_000,
    "audio": "audio.wav",
}
LINE = '{"t":1.0,"kind":"event"}'


def recording(path: Path, *, session: str = LINE, sound: bytes = b"", **meta: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", json.dumps({**META, **meta}))
        archive.writestr("session.jsonl", session)
        archive.writestr(Path(meta.get("audio", META["audio"])).name, sound)
    return path


@pytest.mark.parametrize("text", ["full", "hash", "none"])
@pytest.mark.parametrize(
    "message",
    [
        r'{"type":"transcript","text":"half a character \ud83d"}',
        '{"type":"turn.end","transcript":"","n":' + "[" * 900 + "]" * 900 + "}",
        "[" * 100_000,
        '{"n":1e999,"a":NaN}',
    ],
)
def test_what_is_recorded_of_any_message_can_be_written(
    message: str, text: Any, tmp_path: Path
) -> None:
    wording = Wording(RecordOptions(tmp_path / "call.ink", text=text))
    json.dumps(wording.message(message), ensure_ascii=False).encode()


@pytest.mark.parametrize("session", ["[" * 100_000, "[1]\n7\nnull", "\x00", '{"t":'])
def test_lines_that_are_none_are_left_out(session: str, tmp_path: Path) -> None:
    path = recording(tmp_path / "call.ink", session=f"{session}\n{LINE}")
    assert [moment.t for moment in read_recording(path).moments] == [1.0]


def test_a_bomb_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reader._MAX_SIZES, "session.jsonl", 1000)
    path = recording(tmp_path / "call.ink", session=" " * 100_000)
    with pytest.raises(UsageError, match=r"session\.jsonl has more than"):
        read_recording(path)


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "a/b.wav"])
def test_the_sound_is_a_file_of_the_recording(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(bytes(100))
    call = read_recording(recording(tmp_path / "call.ink", audio=name))
    with pytest.raises(UsageError, match="is not the name of a file in it"):
        call.audio()


@pytest.mark.parametrize("sound", [b"", b"RIFF", b"\xff" * 43])
@pytest.mark.parametrize("name", ["audio.wav", "audio.flac"])
def test_sound_that_is_damaged_is_an_error_of_ours(sound: bytes, name: str, tmp_path: Path) -> None:
    path = recording(tmp_path / "call.ink", sound=sound, audio=name)
    with pytest.raises(UsageError, match="the sound is damaged"):
        read_recording(path).audio()


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"text"])
def test_any_file_is_a_recording_or_an_error_of_ours(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "call.ink"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="is no recording"):
        read_recording(path)


@pytest.mark.parametrize(
    "meta", [{"format": None}, {"format": "1"}, {"format": 99}, {"versions": ["\ud83d"]}]
)
def test_so_is_any_beginning(meta: dict[str, Any], tmp_path: Path) -> None:
    path = recording(tmp_path / "call.ink", **meta)
    try:
        read_recording(path)
    except UsageError as error:
        assert str(path) in str(error)
