"""What is said about a call, from the notes alone."""

from __future__ import annotations

import io
import json
from datetime import date

import pytest

from cartesia_ink_plugins.demo.caller import Line, expected_booking
from cartesia_ink_plugins.demo.journal import CallEvent, Journal, Note
from cartesia_ink_plugins.demo.report import Report, report
from cartesia_ink_plugins.demo.show import Live, table

TODAY = date(2026, 11, 21)
FIRST = Line("1", "A table for six.")
SECOND = Line("2", "Wait, at eight.", interrupts=1.0)

CALL: list[tuple[float, CallEvent, str]] = [
    (1.0, CallEvent.CALLER_SPEAKS, FIRST.text),
    (1.1, CallEvent.TURN_START, ""),
    (1.9, CallEvent.TURN_EAGER_END, "A table"),
    (1.9, CallEvent.REPLY_BEGUN, "A table"),
    (2.0, CallEvent.TURN_RESUME, ""),
    (2.5, CallEvent.CALLER_SPOKE, FIRST.text),
    (2.8, CallEvent.TURN_EAGER_END, "A table for six."),
    (2.81, CallEvent.REPLY_BEGUN, "A table for six."),
    (2.9, CallEvent.REPLY_READY, "Very well. At what time?"),
    (3.1, CallEvent.TURN_END, "A table for six."),
    (3.3, CallEvent.BOT_SPEAKS, ""),
    (4.3, CallEvent.CALLER_SPEAKS, SECOND.text),
    (4.4, CallEvent.TURN_START, ""),
    (4.45, CallEvent.BOT_INTERRUPTED, "Very well."),
    (4.5, CallEvent.BOT_SILENT, ""),
    (5.5, CallEvent.CALLER_SPOKE, SECOND.text),
    (6.0, CallEvent.TURN_END, " Wait, at 8."),
    (6.02, CallEvent.REPLY_BEGUN, " Wait, at 8."),
    (6.2, CallEvent.BOOKED, json.dumps(expected_booking(TODAY))),
    (6.4, CallEvent.REPLY_READY, "It is booked."),
    (6.5, CallEvent.BOT_SPEAKS, ""),
    (7.5, CallEvent.BOT_FINISHED, "It is booked."),
    (7.6, CallEvent.BOT_SILENT, ""),
]


def of(*notes: tuple[float, CallEvent, str], local: bool = False) -> Report:
    journal = Journal(lambda: 0.0)
    journal.notes = [Note(*note) for note in notes]
    return report(journal, (FIRST, SECOND), TODAY, local=local)


def without(what: CallEvent, at: float) -> list[tuple[float, CallEvent, str]]:
    return [note for note in CALL if (note[0], note[1]) != (at, what)]


def failed(result: Report) -> list[str]:
    return [check.what for check in result.checks if not check.passed]


def test_a_good_call_passes() -> None:
    assert failed(of(*CALL)) == []
    assert of(*CALL).passed


def test_durations() -> None:
    first, second = of(*CALL).exchanges
    assert first.eager_lead == pytest.approx(0.3)
    assert first.ready_lead == pytest.approx(0.2)
    assert first.turn_end == pytest.approx(0.6)
    assert first.first_audio == pytest.approx(0.8)
    assert first.resumed == 1
    assert second.eager_lead is None
    assert second.ready_lead == pytest.approx(-0.4)
    assert second.bot_stopped == pytest.approx(0.2)


def test_words_are_verbatim_and_an_answer_belongs_to_its_question() -> None:
    first, second = of(*CALL).exchanges
    assert first.transcript == "A table for six."
    assert second.transcript == " Wait, at 8."
    assert (first.answered, first.cut_off) == ("Very well.", True)
    assert (second.answered, second.cut_off) == ("It is booked.", False)


def test_a_wrong_booking_is_told() -> None:
    wrong = {**expected_booking(TODAY), "party_size": 4}
    notes = [*without(CallEvent.BOOKED, 6.2), (6.2, CallEvent.BOOKED, json.dumps(wrong))]
    assert failed(of(*notes)) == ["the booking has every fact right"]


def test_no_booking_and_two_are_told() -> None:
    assert "the table was booked once" in failed(of(*without(CallEvent.BOOKED, 6.2)))
    twice = (6.3, CallEvent.BOOKED, json.dumps(expected_booking(TODAY)))
    assert failed(of(*CALL, twice)) == ["the table was booked once"]


def test_a_line_that_was_not_heard_is_told() -> None:
    assert "every line was played and recognized" in failed(of(*without(CallEvent.TURN_END, 6.0)))
    assert "every line was played and recognized" in failed(of(*CALL[:11]))


def test_a_bot_that_does_not_stop_is_told() -> None:
    notes = [*without(CallEvent.BOT_SILENT, 4.5), (6.4, CallEvent.BOT_SILENT, "")]
    assert failed(of(*notes)) == ["the interruption stopped the bot"]


def test_an_interruption_ends_with_what_was_interrupted_not_with_the_reply_that_follows() -> None:
    """The bot goes on until the turn ends, and the next reply follows without a gap."""
    notes = [*without(CallEvent.BOT_SILENT, 4.5), (6.1, CallEvent.BOT_SILENT, "")]
    notes = [note for note in notes if note[:2] != (6.5, CallEvent.BOT_SPEAKS)]
    late = of(*notes, (6.12, CallEvent.BOT_SPEAKS, ""))
    assert late.exchanges[1].bot_stopped == pytest.approx(1.8)
    assert failed(late) == ["the interruption stopped the bot"]


def test_a_bot_that_says_nothing_cannot_be_interrupted() -> None:
    notes = [*without(CallEvent.BOT_SILENT, 4.5), (4.2, CallEvent.BOT_SILENT, "")]
    result = of(*notes)
    assert result.exchanges[1].bot_stopped is None
    assert failed(result) == ["the interruption stopped the bot"]


def test_replies_that_are_never_ready_early_are_told() -> None:
    notes = [
        *without(CallEvent.REPLY_READY, 2.9),
        (3.2, CallEvent.REPLY_READY, "Very well. At what time?"),
    ]
    assert failed(of(*notes)) == ["a reply was ready before its turn.end"]


def late_call(eager_end: float) -> list[tuple[float, CallEvent, str]]:
    """A call whose first reply is ready late, after an eager end at this time; the turn ends at 5.

    The second turn has no eager end at all.
    """
    first = [note for note in CALL if note[0] < 2.8 or 3.2 < note[0] < 4.0]
    moved = [(at + 2.0 if at > 3.2 else at, what, text) for at, what, text in first]
    return [
        *moved,
        (eager_end, CallEvent.TURN_EAGER_END, "A table for six."),
        (eager_end, CallEvent.REPLY_BEGUN, "A table for six."),
        (5.0, CallEvent.TURN_END, "A table for six."),
        (5.2, CallEvent.REPLY_READY, "Very well."),
        *((at + 4.0, what, text) for at, what, text in CALL if at > 4.0),
    ]


def test_a_local_recogniser_that_is_behind_is_a_slow_machine_and_no_failure() -> None:
    result = of(*late_call(4.98), local=True)
    check = next(check for check in result.checks if check.what.startswith("a reply was ready"))
    assert check.passed is None
    assert "too slow" in check.detail
    assert "1.5 s after the speech" in check.detail
    assert result.passed
    assert " ?  a reply was ready" in table(result, 200)


@pytest.mark.parametrize(("eager_end", "local"), [(4.98, False), (4.7, True)])
def test_a_service_elsewhere_and_a_recogniser_that_keeps_up_have_no_such_excuse(
    eager_end: float, local: bool
) -> None:
    assert failed(of(*late_call(eager_end), local=local)) == [
        "a reply was ready before its turn.end"
    ]


def test_speaking_before_the_end_is_told() -> None:
    notes = [*CALL, (3.0, CallEvent.BOT_SPEAKS, "")]
    assert failed(of(*notes)) == ["nothing was spoken before its turn.end"]


def test_an_answer_to_the_turn_before_may_still_begin_in_the_next() -> None:
    notes = [note for note in CALL if note[0] != 3.3]
    assert "nothing was spoken before its turn.end" not in failed(
        of(*notes, (4.42, CallEvent.BOT_SPEAKS, ""))
    )


def test_the_table_has_every_word_and_figure() -> None:
    text = " ".join(table(of(*CALL), 110).split())
    for piece in ("0.30 s", "+0.20 s", "0.60 s", "0.80 s", "-0.40 s", "ok the booking has every"):
        assert piece in text
    for word in ("⇒", "stops", "booked."):
        assert word in text


def test_the_table_keeps_to_its_width() -> None:
    lines = table(of(*CALL), 100).splitlines()
    assert max(len(line) for line in lines[: lines.index("")]) <= 100


def test_a_call_that_never_was_has_a_table_too() -> None:
    assert "NO" in table(of(), 80)


def test_live_output_is_plain_where_nobody_watches() -> None:
    out = io.StringIO()
    live = Live(out)
    live(Note(1.0, CallEvent.TURN_START))
    live(Note(1.5, CallEvent.TURN_UPDATE, "A table"))
    live(Note(2.0, CallEvent.TURN_END, " A table."))
    assert out.getvalue().splitlines() == [
        "   1.00 s  Ink     turn.start",
        "   2.00 s  Ink     turn.end        A table.",
    ]


def test_live_updates_are_written_over_each_other_in_a_terminal() -> None:
    out = io.StringIO()
    live = Live(out, colour=True)
    live(Note(1.5, CallEvent.TURN_UPDATE, "A"))
    live(Note(1.6, CallEvent.TURN_UPDATE, "A table"))
    live(Note(2.0, CallEvent.TURN_END, "A table."))
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r\x1b[K") == 2
