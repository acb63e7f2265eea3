"""Scripts: values that say what a caller says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import ErrorMessage, TurnEnd, TurnStart
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import Close, Raw
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.server.listening import PCM16, finals, hear


def test_transcripts_are_verbatim_and_later_turns_begin_with_a_space() -> None:
    script = Script("Hello  there.", "I'd like a table ... for two.", Turn(noise=0.4), "Thanks. ")
    assert script.transcripts == [
        "Hello  there.",
        " I'd like a table for two.",
        "",
        " Thanks. ",
    ]
    assert finals(hear(script)) == script.transcripts


def test_the_first_words_have_no_space_even_after_a_turn_of_noise() -> None:
    script = Script(Turn(noise=0.4), "Hello.")
    assert script.transcripts == ["", "Hello."]
    assert finals(hear(script)) == script.transcripts


def test_the_same_word_may_come_again_and_again() -> None:
    script = Script("no no no ... no", "no")
    assert finals(hear(script)) == ["no no no no", " no"]


def test_spans_are_where_the_sound_is() -> None:
    script = Script("One two.", Turn("Three.", gap=0.5), lead_in=0.4)
    (first, second) = script.spans
    assert first == pytest.approx((0.4, 0.4 + 0.2 + 0.08 + 0.2))
    assert second == pytest.approx((first[1] + 1.2 + 0.5, first[1] + 1.7 + 0.2))
    loud = np.abs(PCM16.decode(script.audio())) > 0.02
    heard = np.flatnonzero(loud) / PCM16.sample_rate
    assert heard[0] == pytest.approx(first[0], abs=0.005)
    assert heard[-1] == pytest.approx(second[1], abs=0.005)
    assert len(script.audio()) == PCM16.size(script.seconds)


def test_json_says_all_that_python_says() -> None:
    script = Script.from_json(
        """
        {"turns": ["Hello.", {"say": ["Tomorrow", 2.0, "at seven"], "eager": false, "gap": 0.5}],
         "timing": {"end_delay": 1.0},
         "lead_in": 0.1,
         "cues": [{"at": 1, "send": [{"type": "turn.start"}, "{oops", 1011], "connection": 2},
                  {"at": "close", "send": [{"type": "turn.end", "transcript": "x"},
                   {"type": "error", "status_code": 500, "message": "m"}, {"type": "new"}]}]}
        """
    )
    assert script.turns == (
        Turn("Hello."),
        Turn(["Tomorrow", 2.0, "at seven"], eager=False, gap=0.5),
    )
    assert script.timing == ScriptTiming(end_delay=1.0)
    assert script.lead_in == 0.1
    assert script.cues == (
        Cue(1, TurnStart(), "{oops", Close(1011), connection=2),
        Cue("close", TurnEnd("x"), ErrorMessage(500, "m"), '{"type": "new"}'),
    )
    assert script.cues[0].messages == (Raw(TurnStart()), Raw("{oops"), Close(1011))


def test_a_json_list_is_a_list_of_turns() -> None:
    assert Script.from_json('["One.", "Two."]').transcripts == ["One.", " Two."]


def test_plain_text_is_one_turn_a_line(tmp_path: Path) -> None:
    path = tmp_path / "caller.txt"
    path.write_text("# A caller.\n\nHello there.\n  I'd like ... a table.  \n")
    assert Script.from_file(path).transcripts == ["Hello there.", " I'd like a table."]
    json_path = tmp_path / "caller.json"
    json_path.write_text('["Hi."]')
    assert Script.from_file(json_path).transcripts == ["Hi."]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("3", "object"),
        ('{"turn": []}', "turns, timing, cues"),
        ('{"turns": [3]}', "a turn must be an object"),
        ('{"turns": [{"says": "x"}]}', "a turn must be an object with after"),
        ('{"turns": [{"say": ""}]}', "no words"),
        ('{"turns": [{"say": "x", "gap": -1}]}', "gap"),
        ('{"turns": [{"say": "x", "gap": "long"}]}', "a turn has a value of the wrong type"),
        ('{"turns": [{"say": "x", "gap": NaN}]}', "not JSON: NaN"),
        ('{"turns": [{"say": ["x", null]}]}', "a turn has a value of the wrong type"),
        ('{"turns": [{"say": ["x", -1]}]}', "a pause is below 0"),
        ('{"turns": [{"say": 3}]}', "a turn has a value of the wrong type"),
        ('{"turns": "Hi."}', "must be lists"),
        ('{"cues": 3}', "must be lists"),
        ('{"lead_in": "x"}', "lead_in must be a number"),
        ('{"lead_in": -1}', "lead_in: -1 is below 0"),
        ('{"timing": {"start_delay": null}}', "a timing has a value of the wrong type"),
        ('{"timing": {"end_delay": 0.1}}', "timing"),
        ('{"cues": [{"at": 1}]}', "a cue must be"),
        ('{"cues": [{"at": 1, "send": "x"}]}', "a cue must be"),
        ('{"cues": [{"at": -1, "send": []}]}', "at: -1"),
        ('{"cues": [{"at": 1, "send": [true]}]}', "cannot send"),
        ('{"cues": [{"at": 1, "send": [1.5]}]}', "cannot send"),
    ],
)
def test_what_is_no_script_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Script.from_json(text)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none\.txt: No such file"):
        Script.from_file(tmp_path / "none.txt")
    (tmp_path / "noise.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        Script.from_file(tmp_path / "noise.txt")


def test_too_many_different_words_are_refused() -> None:
    with pytest.raises(UsageError, match="10001 different words"):
        Script(" ".join(map(str, range(10_001))))
