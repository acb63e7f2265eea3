"""What an HTTP answer says about an error, read from foreign bytes."""

from __future__ import annotations

import email.utils
import time

import pytest

from cartesia_ink_plugins.core.net.http_errors import explanation, retry_after_seconds


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"type":"error","title":"Unauthorized","message":"No such key."}', "No such key."),
        (b'{"title":"Unauthorized"}', "Unauthorized"),
        (b'{"message":"two\\nlines"}', "two lines"),
        (b'{"message":17}', "17"),
        (b'{"error_code":null,"title":"Gone","message":"No credit."}', "No credit."),
        (b"Unauthorized: No such key.\n", "Unauthorized: No such key."),
        (b"\x1b[31mred", ""),
        (b"[" * 100_000, ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"<html>Bad gateway</html>", ""),
        (b"\xff\xfe", ""),
        (b"", ""),
    ],
)
def test_an_error_is_explained_in_one_line(body: bytes, text: str) -> None:
    assert explanation(body) == text


def test_a_long_explanation_is_cut() -> None:
    assert len(explanation(b'{"message":"' + b"x" * 10_000 + b'"}')) == 200


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
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
def test_retry_after(retry_after: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(retry_after) == seconds


def test_retry_after_as_a_date() -> None:
    header = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert retry_after_seconds(header) == pytest.approx(100, abs=2)
