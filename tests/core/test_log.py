"""Log lines say which session they are about, and no peer can break or flood them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.log import LOGGER_NAME, SessionLog, one_line


class TestSessionLog:
    def test_every_line_begins_with_the_id_of_its_session(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, LOGGER_NAME)
        first, second = SessionLog("ink-1"), SessionLog("ink-2")
        first.debug("one")
        second.warning("two %s of %d", "parts", 3)
        first.info("three")
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("DEBUG", "[ink-1] one"),
            ("WARNING", "[ink-2] two parts of 3"),
            ("INFO", "[ink-1] three"),
        ]

    def test_an_exception_is_logged_with_its_traceback(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        try:
            raise ValueError("the cause")
        except ValueError:
            SessionLog("ink-1").exception("it failed")
        [record] = caplog.records
        assert record.getMessage() == "[ink-1] it failed"
        assert "ValueError: the cause" in caplog.text

    def test_all_sessions_log_to_the_logger_of_the_package(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        SessionLog("ink-1").warning("one")
        assert [record.name for record in caplog.records] == [LOGGER_NAME]
        assert LOGGER_NAME == "cartesia_ink_plugins"

    def test_the_core_adds_no_handler(self) -> None:
        SessionLog("ink-1")
        assert logging.getLogger(LOGGER_NAME).handlers == []

    def test_an_id_with_a_percent_sign_breaks_no_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        SessionLog("100%").warning("one")
        assert caplog.records[0].getMessage() == "[100%] one"


class TestOneLine:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("plain", "plain"),
            ("two\nlines", "two\\nlines"),
            ("\x1b[31mred\r", "\\x1b[31mred\\r"),
            ("Grüße 👋", "Grüße 👋"),
            ("\ud83d", "\\ud83d"),
            ("\u2028", "\\u2028"),
            ("", ""),
            (17, "17"),
            (b"\x00\xff", "b'\\x00\\xff'"),
        ],
    )
    def test_control_characters_are_escaped(self, text: object, line: str) -> None:
        assert one_line(text) == line

    def test_a_line_of_three_hundred_characters_is_whole(self) -> None:
        assert one_line("x" * 300) == "x" * 300

    def test_a_longer_one_is_cut(self) -> None:
        assert one_line("x" * 301) == "x" * 299 + "…"
        assert one_line("x" * 10**6) == "x" * 299 + "…"

    @given(st.text(alphabet=st.characters(), max_size=400))
    def test_any_text_is_one_printable_line_of_bounded_length(self, text: str) -> None:
        line = one_line(text)
        assert line.isprintable()
        assert len(line) <= 300
