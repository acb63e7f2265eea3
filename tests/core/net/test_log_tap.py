"""One line for each moment, at its level."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import (
    AudioGap,
    ConnectFailed,
    Disconnected,
    TurnEnd,
    TurnStart,
    TurnUpdate,
    Unreachable,
)
from cartesia_ink_plugins.core.net.log_tap import LogTap
from cartesia_ink_plugins.core.tap import Moment, MomentKind, Span

DEBUG, INFO, WARNING = logging.DEBUG, logging.INFO, logging.WARNING


def lines(
    caplog: pytest.LogCaptureFixture, kind: MomentKind, payload: object
) -> list[tuple[int, str]]:
    """What is logged of one moment of the second connection: levels and texts."""
    moment = Moment(1.5, kind, connection=2, turn=1, payload=payload)
    LogTap(logging.getLogger("test")).on(moment)
    return [(record.levelno, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize(
    ("kind", "payload", "level", "line"),
    [
        (MomentKind.CONNECTING, None, DEBUG, "= connecting"),
        (MomentKind.OPENED, "abc", INFO, "connection 2 opened (abc)"),
        (MomentKind.OPENED, None, INFO, "connection 2 opened (no request id)"),
        (MomentKind.REJECTED, RejectedError("no key", status=401), INFO, None),
        (MomentKind.LOST, Disconnected("reset", 1006, 0.5), INFO, "reset; reconnecting in 0.50 s"),
        (
            MomentKind.LOST,
            ConnectFailed("refused", None, None),
            INFO,
            "refused; reconnecting when there is audio",
        ),
        (MomentKind.COMMAND, "close\n", DEBUG, "> TEXT close\\n"),
        (MomentKind.RECEIVED, "text", DEBUG, "< TEXT text"),
        (MomentKind.RECEIVED, b"data", DEBUG, "< BINARY b'data'"),
        (MomentKind.EVENT, TurnStart(), DEBUG, None),
        (
            MomentKind.EVENT,
            Unreachable("no TLS", "base_url", 10.0),
            WARNING,
            "no TLS; check base_url",
        ),
        (MomentKind.REPLAY_BEGAN, Span(1.0, 3.5, 2.5), INFO, "replaying 2.5 s from 1.0 s"),
        (MomentKind.REPLAY_ENDED, Span(1.0, 3.5, 2.5), INFO, "replay ended at 3.5 s"),
        (MomentKind.GAP, AudioGap(1.25, 4.0), INFO, "gave up 1.25 s of audio at 4.0 s"),
        (MomentKind.BOT_STARTED, None, DEBUG, "= bot started"),
        (MomentKind.CLOCK, 7.5, DEBUG, "= clock 7.5"),
    ],
)
def test_each_moment_has_its_line(
    kind: MomentKind,
    payload: object,
    level: int,
    line: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(DEBUG, "test")
    [(logged_at, text)] = lines(caplog, kind, payload)
    assert logged_at == level
    if line is not None:
        assert text == line


def test_at_info_the_messages_are_neither_logged_nor_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(INFO, "test")
    assert lines(caplog, MomentKind.RECEIVED, "text") == []
    wanted = LogTap(logging.getLogger("test")).kinds
    assert {MomentKind.OPENED, MomentKind.LOST, MomentKind.GAP, TurnEnd, Unreachable} <= wanted
    assert not wanted & {MomentKind.RECEIVED, MomentKind.COMMAND, MomentKind.SENT, TurnUpdate}
    caplog.set_level(DEBUG, "test")
    assert LogTap(logging.getLogger("test")).kinds == frozenset(MomentKind)
