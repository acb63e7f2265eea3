"""What HTTP servers answer: whatever it is, it is read as a value or as nothing."""

from __future__ import annotations

import email.utils
import gzip
import json
import math
import time
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.json_text import json_object
from cartesia_ink_plugins.core.net.http_errors import (
    decompress,
    explanation,
    is_api_error,
    retry_after_seconds,
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"type":"error","title":"Unauthorized","message":"No such key."}', "No such key."),
        (b'{"title":"Unauthorized"}', "Unauthorized"),
        (b'{"message":"two\\nlines"}', "two lines"),
        (b'{"message":17,"title":"Gone"}', "Gone"),
        (b'{"error_code":null,"title":"Gone","message":"No credit."}', "No credit."),
        (b"Unauthorized: No such key.\n", "Unauthorized: No such key."),
        (b"\x1b[31mred", ""),
        (b"[" * 100_000, ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", "null"),
        (b"<html>Bad gateway</html>", ""),
        (b"\xff\xfe", ""),
        (b"", ""),
    ],
)
def test_an_error_is_explained_in_one_line(body: bytes, text: str) -> None:
    assert explanation(body, str) == text


def test_a_long_explanation_is_cut() -> None:
    assert len(explanation(b'{"message":"' + b"x" * 10_000 + b'"}', str)) == 200


@pytest.mark.parametrize(
    ("body", "is_so"),
    [
        (b'{"type":"error","status_code":401,"message":"No such key."}', True),
        (b'{"type":"error","code":401,"message":"No such key."}', True),
        (b'{"type":"done","status_code":401,"message":"No such key."}', False),
        (b'{"status_code":401,"message":"No such key."}', False),
        (b'{"type":"error","status_code":"401","message":"No such key."}', False),
        (b'{"type":"error","status_code":401,"message":7}', False),
        (b'{"type":"error","status_code":401}', False),
        (b'{"type":"error","message":"No such key."}', False),
        (b"<html>No such page</html>", False),
    ],
)
def test_an_error_of_the_api_has_its_type_status_and_message(body: bytes, *, is_so: bool) -> None:
    assert is_api_error(body) is is_so


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds


def test_retry_after_as_a_date() -> None:
    header = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert retry_after_seconds(header) == pytest.approx(100, abs=2)


NUMBERS = st.integers(-(10**20), 10**20)
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Wed", "Xyz", ""]),
    NUMBERS,
    st.sampled_from(["Oct", "Feb", "13", ""]),
    NUMBERS | st.integers(0, 12_000),
    st.integers(-1, 30),
    st.integers(-1, 70),
    NUMBERS | st.integers(0, 60),
    st.sampled_from(["GMT", "-0000", "+9999", "-9999", "+99999999999999999999", "EST"]),
)


@given(st.text() | DATES | NUMBERS.map(str))
@example("Wed, 21 Oct 99999 07:28:00 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +9900")
@example("Fri, 31 Dec 9999 23:59:59 -9900")
@example("Wed, 21 Oct 2015 07:28:00 +99999999999999999999")
@example("1" * 5000)
def test_any_retry_after_is_a_number_of_seconds_or_nothing(header: str) -> None:
    seconds = retry_after_seconds(header)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
BODIES = st.binary() | JSON.map(lambda value: json.dumps(value).encode())


@given(BODIES)
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"message":' + b"[" * 100_000)
@example(b"9" * 5000)
@example(b"\xff\xfe{")
def test_any_body_is_an_object_or_nothing_and_explains_itself_in_a_line(body: bytes) -> None:
    fields = json_object(body)
    assert fields is None or isinstance(fields, dict)
    line = explanation(body, str)
    assert len(line) <= 200 and (line.isprintable() or not line)


@given(
    st.binary(), st.sampled_from(["", "identity", "gzip", "x-gzip", "deflate", "br", "GZIP, br"])
)
def test_any_body_decompresses_within_its_limit_or_not_at_all(body: bytes, encoding: str) -> None:
    content = decompress(body, encoding, 100)
    assert content is None or len(content) <= 100


@given(st.binary(max_size=100))
def test_what_was_compressed_comes_back(content: bytes) -> None:
    assert decompress(content, " Identity", 100) == content
    assert decompress(gzip.compress(content), "GZip", 100) == content
    assert decompress(zlib.compress(content), "deflate", 100) == content


def test_a_body_that_is_cut_or_too_large_is_nothing() -> None:
    assert decompress(gzip.compress(b"x" * 100), "gzip", 100) == b"x" * 100
    assert decompress(gzip.compress(b"x" * 101), "gzip", 100) is None
    assert decompress(gzip.compress(b"hello")[:-1], "gzip", 100) is None
    assert decompress(b"x" * 101, "", 100) is None
