"""JSON of others is an object or None, and what is in it can be encoded and printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.json_text import encodable, json_object

ANY_TEXT = st.text(alphabet=st.characters(), max_size=8)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=12,
)


def nested(levels: int) -> str:
    """An object with so many levels."""
    return '{"a":' * levels + "1" + "}" * levels


@given(st.text(alphabet=st.characters()) | st.binary())
def test_any_bytes_are_an_object_or_none(data: str | bytes) -> None:
    assert isinstance(json_object(data), dict | None)


@given(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4))
def test_what_was_read_can_be_printed_and_written(fields: dict[str, Any]) -> None:
    value = encodable(json_object(json.dumps(fields)))
    repr(value).encode()
    json.dumps(value, ensure_ascii=False).encode()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_text_is_as_it_was(fields: dict[str, Any]) -> None:
    assert encodable(json_object(json.dumps(fields))) == fields


def test_two_halves_are_a_character_and_one_is_replaced() -> None:
    fields = json_object('{"a\\ud83d":["b\\ud83d\\ude00",{"c":"\\ude00d"}]}')
    assert encodable(fields) == {"a\ufffd": ["b😀", {"c": "\ufffdd"}]}


@pytest.mark.parametrize("data", ["", "[]", "null", '"text"', "1", '{"a":1', "\ufeff{}", b"\xff"])
def test_what_is_no_object_is_none(data: str | bytes) -> None:
    assert json_object(data) is None


@pytest.mark.parametrize("levels", [1, 32])
def test_a_few_levels_are_read(levels: int) -> None:
    assert json_object(nested(levels)) is not None


@pytest.mark.parametrize("levels", [33, 900, 100_000])
def test_more_are_not(levels: int) -> None:
    assert json_object(nested(levels)) is None
    assert json_object("[" * levels) is None


def test_nor_are_objects_without_end() -> None:
    assert json_object('{"a":[' + "[]," * 400_000 + "1]}") is not None
    assert json_object('{"a":[' + "[]," * 600_000 + "1]}") is None
    assert json_object(b'{"a":[' + b"[]," * 600_000 + b"1]}") is None
