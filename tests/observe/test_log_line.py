"""The log has one sentence a turn at INFO, without words unless they are asked for."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.core.net.log_tap import LogTap, turn_line
from cartesia_ink_plugins.observe.turns import TurnReport
from cartesia_ink_plugins.server.script import Script, Turn
from tests.observe.playing import play

LOG = logging.getLogger("test.turns")
SCRIPT = Script("Hello there.", "A table ... for two.", Turn("Yes.", eager=False), Turn(noise=0.5))


def turn_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Play the script; return the lines about turns."""
    caplog.set_level(logging.INFO, LOG.name)
    play(SCRIPT, taps=[LogTap(LOG)])
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    return [line for line in lines if line.startswith("turn ")]


def test_each_turn_has_one_line_that_reads_as_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    assert turn_lines(caplog) == [
        "turn 1 ended 0.88 s after the speech, with 2 words in 1.4 s; "
        "its end was predicted 0.50 s before",
        "turn 2 ended 0.88 s after the speech, with 4 words in 2.3 s; "
        "its end was predicted 0.50 s before; 1 prediction withdrawn",
        "turn 3 ended 0.88 s after the speech, with 1 word in 1.1 s",
        "turn 4 ended 0.88 s after the speech, with 0 words in 1.4 s",
    ]


def test_words_are_logged_only_where_that_is_asked_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTESIA_LOG_TRANSCRIPTS", "1")
    assert turn_lines(caplog)[0].endswith("predicted 0.50 s before: Hello there.")


@pytest.mark.parametrize("value", ["", "0", "true", None])
def test_nothing_but_a_one_asks_for_words(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("CARTESIA_LOG_TRANSCRIPTS", raising=False)
    else:
        monkeypatch.setenv("CARTESIA_LOG_TRANSCRIPTS", value)
    assert not any(word in line for line in turn_lines(caplog) for word in ("Hello", "table"))


def test_what_is_unknown_is_left_out() -> None:
    turn = TurnReport(7, None, "Yes", 10.0, 12.0, None, None, predictions=0, resumes=2)
    line = "turn 7 ended, with 1 word in 2.0 s; 2 predictions withdrawn"
    assert turn_line(turn, with_text=False) == line
