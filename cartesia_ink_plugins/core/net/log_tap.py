"""The log of a session as a sequence chart, written by a tap.

Every line begins with the id of its session, so that the lines of several sessions can be told
apart. At INFO: connections, replays, gaps, and one line a turn, without any text of the user unless
`CARTESIA_LOG_TRANSCRIPTS` is 1. At DEBUG also every message in both directions, as `> TEXT ...` and
`< TEXT ...`, states and events; text of the user appears there, secrets do not.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from cartesia_ink_plugins.core.events import Unreachable
from cartesia_ink_plugins.core.log import Log, one_line
from cartesia_ink_plugins.core.tap import Moment, MomentKind
from cartesia_ink_plugins.observe.turns import TURN_KINDS, TurnReport, TurnTracker

_AT_INFO = frozenset(
    {
        MomentKind.OPENED,
        MomentKind.REJECTED,
        MomentKind.LOST,
        MomentKind.REPLAY_BEGAN,
        MomentKind.REPLAY_ENDED,
        MomentKind.GAP,  # the application is told by an `AudioGap`, and decides how bad it is
    }
)


class LogTap:
    """Writes moments into the log of a session.

    Attributes:
        kinds: What it wants: every moment if the level is DEBUG when the session begins.
    """

    def __init__(self, log: Log) -> None:
        """Write to a log."""
        self._log = log
        is_debugging = log.isEnabledFor(logging.DEBUG)
        at_info = _AT_INFO | TURN_KINDS | {Unreachable}
        self.kinds = frozenset(MomentKind) if is_debugging else at_info
        self._turns = TurnTracker()
        self._with_text = os.environ.get("CARTESIA_LOG_TRANSCRIPTS") == "1"

    def on(self, moment: Moment) -> None:
        """Write a line, if the level is enabled."""
        level = _level(moment)
        if self._log.isEnabledFor(level):
            self._log.log(level, "%s", _line(moment))
        if (turn := self._turns.on(moment)) is not None:
            self._log.info("%s", turn_line(turn, with_text=self._with_text))


def turn_line(turn: TurnReport, *, with_text: bool) -> str:
    """Say in one sentence how a turn went.

    Args:
        turn: That is over.
        with_text: Whether to add its text.
    """
    count = len(turn.transcript.split())
    line = f"turn {turn.number} ended"
    if turn.end_latency is not None:
        line += f" {turn.end_latency:.2f} s after the speech"
    line += f", with {count} word{'s' * (count != 1)} in {turn.duration:.1f} s"
    if turn.eager_lead is not None:
        line += f"; its end was predicted {turn.eager_lead:.2f} s before"
    if turn.resumes:
        line += f"; {turn.resumes} prediction{'s' * (turn.resumes != 1)} withdrawn"
    return f"{line}: {one_line(turn.transcript)}" if with_text else line


def _level(moment: Moment) -> int:
    """Return the level of a moment's line."""
    if moment.kind is MomentKind.EVENT and isinstance(moment.payload, Unreachable):
        return logging.WARNING
    return logging.INFO if moment.kind in _AT_INFO else logging.DEBUG


def _line(moment: Moment) -> str:
    """Return the text of a moment's line."""
    payload: Any = moment.payload
    match moment.kind:
        case MomentKind.CONNECTING:
            return "= connecting"
        case MomentKind.OPENED:
            number, request_id = moment.connection, one_line(payload or "no request id")
            return f"connection {number} opened ({request_id})"
        case MomentKind.REJECTED:
            return f"session rejected: {one_line(payload)}"
        case MomentKind.LOST:
            again = (
                "when there is audio"
                if payload.retry_in is None
                else f"in {payload.retry_in:.2f} s"
            )
            return f"{one_line(payload.reason)}; reconnecting {again}"
        case MomentKind.AUDIO:
            return f"= audio {payload.start:.3f} to {payload.end:.3f} s"
        case MomentKind.SENT:
            return f"> BINARY audio {payload.start:.3f} to {payload.end:.3f} s"
        case MomentKind.BOT_AUDIO:
            return f"= bot audio, {len(payload.data)} bytes"
        case MomentKind.COMMAND:
            return f"> TEXT {one_line(payload)}"
        case MomentKind.RECEIVED:
            kind = "TEXT" if isinstance(payload, str) else "BINARY"
            return f"< {kind} {one_line(payload)}"
        case MomentKind.EVENT if isinstance(payload, Unreachable):
            return f"{payload.reason}; check {payload.check}"
        case MomentKind.EVENT:
            return f"= event {one_line(payload)}"
        case MomentKind.REPLAY_BEGAN:
            return f"replaying {payload.seconds:.1f} s from {payload.start:.1f} s"
        case MomentKind.REPLAY_ENDED:
            return f"replay ended at {payload.end:.1f} s"
        case MomentKind.SILENCE:
            return f"> BINARY {payload.seconds:.1f} s of silence at {payload.start:.1f} s"
        case MomentKind.GAP:
            return f"gave up {payload.seconds:.2f} s of audio at {payload.position:.1f} s"
        case kind:
            return f"= {kind} {one_line(payload) if payload is not None else ''}".rstrip()
