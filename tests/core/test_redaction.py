"""Secrets are found however they are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.redaction import Redactor

SECRET = "sk_car_9aZ-b/c+d=e&f'g.hijklmnopqrstuvwxyz0123"
WAYS = {
    "plain": SECRET,
    "percent": quote(SECRET, safe=""),
    "every character in percent": "".join(f"%{ord(c):02x}" for c in SECRET),
    "percent twice": quote(quote(SECRET, safe=""), safe=""),
    "JSON": "".join(f"\\u{ord(c):04x}" for c in SECRET),
    "the first letter in JSON": "\\u0073" + SECRET[1:],
    "JSON in JSON": json.dumps("".join(f"\\u{ord(c):04X}" for c in SECRET)).strip('"'),
    "an escaped slash": SECRET.replace("/", "\\/"),
    "hexadecimal": "".join(f"\\x{ord(c):02x}" for c in SECRET),
    "HTML": "".join(f"&#{ord(c)};" for c in SECRET),
    "HTML in hexadecimal": "".join(f"&#x{ord(c):X};" for c in SECRET),
    "HTML where it must be": SECRET.replace("&", "&amp;").replace("'", "&#x27;"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_replaced_however_it_is_written(way: str) -> None:
    assert Redactor(SECRET)(f"bad key {WAYS[way]}!") == "bad key ***!"


@given(st.lists(st.sampled_from(["plain", "percent", "json", "html"]), min_size=46, max_size=46))
def test_each_character_may_be_written_in_another_way(ways: list[str]) -> None:
    written: dict[str, Callable[[str], str]] = {
        "plain": lambda c: c,
        "percent": lambda c: f"%{ord(c):02X}",
        "json": lambda c: f"\\u{ord(c):04x}",
        "html": lambda c: f"&#{ord(c)};",
    }
    text = "".join(written[way](c) for way, c in zip(ways, SECRET, strict=True))
    assert Redactor(SECRET)(f"<{text}>") == "<***>"


def test_a_message_stays_one() -> None:
    text = json.dumps({"type": "error", "message": f'"{SECRET}"', "code": 400})
    for way in WAYS.values():
        assert json.loads(str(Redactor(SECRET).message(text.replace(SECRET, way)))) == {
            "type": "error",
            "message": '"***"',
            "code": 400,
        }


def test_binary_messages_are_searched_too() -> None:
    assert Redactor(SECRET).message(b"\xff" + SECRET.encode() + b"\x00") == b"\xff***\x00"


def test_several_secrets_are_looked_for_and_the_oldest_forgotten() -> None:
    redact = Redactor("first-secret", None)
    for number in range(20):
        redact.add(f"token-{number:04}")
    assert redact("token-0019 token-0012") == "*** ***"


def test_what_is_too_short_is_no_secret() -> None:
    assert Redactor("key", "")("the key") == "the key"


@pytest.mark.parametrize("text", ["%" * 2**18, "\\" * 2**18, "&#" * 2**17, "%25" * 2**16])
def test_escapes_without_end_are_read_in_bounded_time(text: str) -> None:
    """Each character is looked at a bounded number of times: in square time this takes minutes."""
    assert Redactor(SECRET)(text) == text


@given(st.text())
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    assert Redactor(SECRET)(text) == text
