"""Frames as bytes, against the library that the clients use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as LibraryFrame
from websockets.frames import Opcode as LibraryOpcode

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.frames import (
    FrameReader,
    FrameTooLargeError,
    Opcode,
    encode_frame,
    encode_items,
)

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_what_the_library_writes(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    library = LibraryFrame(LibraryOpcode.BINARY, payload).serialize(mask=False)
    assert encode_frame(Opcode.BINARY, payload) == library


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask", [False, True])
def test_frames_of_the_library_are_read_in_any_pieces(size: int, mask: bool) -> None:
    payload = bytes(i % 251 for i in range(size))
    wire = LibraryFrame(LibraryOpcode.TEXT, payload).serialize(mask=mask)
    for step in (1 if size < 200 else 997, len(wire)):
        reader = FrameReader()
        frames = [
            f for i in range(0, 2 * len(wire), step) for f in reader.feed((wire * 2)[i : i + step])
        ]
        assert [(f.opcode, f.payload, f.raw) for f in frames] == [(Opcode.TEXT, payload, wire)] * 2


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=200)), max_size=5))
def test_items_are_consecutive_frames(items: list[str | bytes]) -> None:
    frames = list(FrameReader().feed(encode_items([*items, Close(1011, "so it is")])))
    payloads = [item.encode() if isinstance(item, str) else item for item in items]
    assert [frame.payload for frame in frames[:-1]] == payloads
    assert frames[-1].payload == b"\x03\xf3so it is"


def test_close_frames() -> None:
    assert encode_items([Close(1006)]) == b""
    assert encode_items([Close(1005)]) == b"\x88\x00"
    (frame,) = FrameReader().feed(encode_items([Close(1000, "ü" * 100)]))
    assert frame.size == 124


@pytest.mark.parametrize("size", [2**26 + 1, 2**40, 2**64 - 1])
@pytest.mark.parametrize("masked", [0, 0x80])
def test_a_frame_that_claims_too_much_is_an_error_before_its_bytes_come(
    size: int, masked: int
) -> None:
    head = bytes([0x82, 127 | masked]) + size.to_bytes(8, "big")
    with pytest.raises(FrameTooLargeError, match=str(size)):
        list(FrameReader().feed(head))


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_frames_or_that_error(pieces: list[bytes]) -> None:
    reader, read = FrameReader(), 0
    try:
        for piece in pieces:
            for frame in reader.feed(piece):
                assert len(frame.payload) == frame.size
                read += len(frame.raw)
    except FrameTooLargeError:
        return
    assert read <= sum(map(len, pieces))
