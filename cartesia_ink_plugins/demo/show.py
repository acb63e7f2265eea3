"""Shows a call in a terminal: live, and as a table at the end."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from cartesia_ink_plugins.core.log import printable
from cartesia_ink_plugins.demo.journal import CallEvent, Note
from cartesia_ink_plugins.demo.report import Exchange, Report

_WHO = {
    CallEvent.CALLER_SPEAKS: ("caller", "speaks"),
    CallEvent.TURN_START: ("Ink", "turn.start"),
    CallEvent.TURN_UPDATE: ("Ink", "turn.update"),
    CallEvent.TURN_EAGER_END: ("Ink", "turn.eager_end"),
    CallEvent.TURN_RESUME: ("Ink", "turn.resume"),
    CallEvent.TURN_END: ("Ink", "turn.end"),
    CallEvent.REPLY_BEGUN: ("bot", "begins a reply"),
    CallEvent.REPLY_READY: ("bot", "reply ready"),
    CallEvent.BOT_SPEAKS: ("bot", "is audible"),
    CallEvent.BOT_SILENT: ("bot", "is silent"),
    CallEvent.BOT_INTERRUPTED: ("bot", "was interrupted"),
    CallEvent.BOOKED: ("bot", "books"),
}
_COLOURS = {"caller": "\x1b[36m", "Ink": "\x1b[33m", "bot": "\x1b[32m"}
_PLAIN = "\x1b[0m"


class Live:
    """Prints the notes of a journal live."""

    def __init__(self, out: TextIO | None = None, *, colour: bool | None = None) -> None:
        """Print to a stream.

        Args:
            out: The stream; by default standard output.
            colour: Whether to use colours and overwrite lines; by default if it is a terminal.
        """
        self._out = out or sys.stdout
        self._colour = self._out.isatty() if colour is None else colour
        self._updating = False

    def __call__(self, note: Note) -> None:
        """Print one note."""
        if note.what not in _WHO:
            return
        who, does = _WHO[note.what]
        text = printable(note.text.strip()) if note.what is not CallEvent.REPLY_BEGUN else ""
        is_update = note.what is CallEvent.TURN_UPDATE
        if is_update and not self._colour:
            return
        line = f"{note.at:7.2f} s  {who:6}  {does:15} {text}".rstrip()
        if self._colour:
            # A line longer than the terminal cannot be overwritten.
            line = f"{_COLOURS[who]}{line[:99] if is_update else line}{_PLAIN}"
        start = "\r\x1b[K" if self._updating else ""
        self._out.write(start + line + ("" if is_update else "\n"))
        self._out.flush()
        self._updating = is_update


def table(report: Report, width: int = 100) -> str:
    """Return a table of the exchanges, and the checks.

    Args:
        report: The report.
        width: Characters per line.
    """
    head = ("", "caller", "bot", "eager lead", "reply ready", "turn.end", "bot heard")
    rows = [_cells(n, exchange) for n, exchange in enumerate(report.exchanges, 1)]
    numbers = 8
    text = max(20, (width - 2 - (len(head) - 3) * (numbers + 2) - 4) // 2)
    widths = [1, text, text] + [numbers] * (len(head) - 3)
    lines = [*_row(head, widths), "  ".join("─" * width for width in widths)]
    for row in rows:
        lines += [*_row(row, widths), ""]
    lines += _LEGEND
    lines.append("")
    lines += [_check(c.passed, c.what, c.detail) for c in report.checks]
    return "\n".join(lines)


_LEGEND = [
    "eager lead   from turn.eager_end, when the reply is begun, to turn.end",
    "reply ready  how long before (+) or after (-) turn.end the reply was complete",
    "turn.end     from the end of the caller's speech to turn.end",
    "bot heard    from the end of the caller's speech to the bot's first audio",
]


def _cells(number: int, exchange: Exchange) -> tuple[str, ...]:
    transcript = printable(exchange.transcript.strip())
    caller = exchange.line
    if _normalized(transcript) != _normalized(exchange.line):
        caller += f" ⇒ {transcript}"
    if exchange.interrupts and exchange.bot_stopped is not None:
        caller += f" [interrupts; the bot stops after {exchange.bot_stopped:.2f} s]"
    bot = exchange.answered + (" —" if exchange.cut_off else "")
    return (
        str(number),
        caller,
        bot,
        _seconds(exchange.eager_lead),
        _seconds(exchange.ready_lead, signed=True),
        _seconds(exchange.turn_end),
        _seconds(exchange.first_audio),
    )


def _normalized(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalnum() or c.isspace()).split()


def _seconds(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    sign = ("+" if value >= 0 else "-") if signed else ""
    return f"{sign}{abs(value):.2f} s"


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    columns = [
        textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for n in range(max(map(len, columns))):
        parts = [column[n] if n < len(column) else "" for column in columns]
        padded = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines


def _check(passed: bool | None, what: str, detail: str) -> str:
    verdict = {True: "ok ", False: "NO ", None: " ? "}[passed]
    return f"{verdict} {what}{': ' + detail if detail else ''}"
