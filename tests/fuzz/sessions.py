"""Sessions in virtual time whose server and network do anything at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import (
    Final,
    Interim,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unreachable,
)
from cartesia_ink_plugins.core.manual.session import ManualSession
from cartesia_ink_plugins.core.options import (
    ManualOptions,
    Resilience,
    TurnSettings,
    TurnsOptions,
)
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.outbox import Ping
from cartesia_ink_plugins.core.turns.session import TurnsSession
from tests.fuzz.source import Source, lines

Session = TurnsSession | ManualSession
_STATUSES = (100, 200, 302, 400, 401, 403, 404, 407, 408, 421, 425, 429, 500, 503, 599)
_CODES = (None, 1000, 1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 1015, 4000)
_DRAIN = 3.0  # seconds that `finish` is given
_SOUND = (np.sin(np.arange(16_000) * 0.2) * 9000).astype("<i2").tobytes()  # a second, 16 kHz


class Stage:
    """One session with a clock of its own; every step is an input that its driver may give."""

    def __init__(self, session: Session, source: Source, messages: str) -> None:
        self.session = session
        self.events: list[Any] = []
        self._source = source
        self._messages = messages
        self._place = 0
        self._now = 0.0
        session.start(0.0)
        self._settle()

    def play(self) -> None:
        """Let everything happen, then finish; check what must hold whatever happened."""
        source = self._source
        steps: tuple[Callable[[], None], ...] = (
            *(self._speak,) * 6,
            *(self._receive,) * 8,
            *(self._network,) * 4,
            *(self._wait,) * 3,
            self._application,
        )
        for _ in range(source.randrange(5, 60)):
            if self.session.is_closed:
                break
            source.choice(steps)()
            self._settle()
        self.session.finish(self._now, _DRAIN)
        self._settle()
        end = self._now + _DRAIN
        self._advance(end + 0.001)
        assert self.session.is_closed, "finish() took longer than its timeout"
        numbers = self.session.snapshot()
        known = numbers.sent + numbers.pending + numbers.lost
        assert abs(numbers.received - known) < 1e-6, f"audio is unaccounted for: {numbers}"
        for event in self.events:
            repr(event).encode()

    # --- inputs -------------------------------------------------------------------------------

    def _speak(self) -> None:
        seconds = self._source.one_of(0.02, 0.02, 0.1, 0.5, 2.0)
        size = int(seconds * 16_000) * 2
        pcm = self._source.one_of(bytes(size), (_SOUND * 3)[:size], self._source.randbytes(size))
        self._advance(self._now + seconds)
        if not self.session.is_closed:
            self.session.audio_received(pcm, self._now)

    def _receive(self) -> None:
        if self.session.connection.state is not ConnectionState.OPEN:
            return
        source = self._source
        script = lines(self._messages)
        if source.chance(0.6):  # a conversation goes on
            message: str | bytes = script[self._place % len(script)]
            self._place += 1
        elif source.chance(0.7):
            message = source.line(self._messages, "hostile")
        else:
            message = source.blob() if source.chance(0.3) else json.dumps(source.value())
        self.session.message_received(message, self._now)

    def _network(self) -> None:
        session, source = self.session, self._source
        if session.connection.state is ConnectionState.CONNECTING and source.chance(0.7):
            session.connection_opened(self._now, source.one_of(None, "r", source.text()))
        elif session.connection.state is ConnectionState.CONNECTING:
            session.connection_rejected(
                source.choice(_STATUSES),
                self._now,
                retry_after=source.one_of(None, 0.0, 2.0, 1e12),
                message=source.text(),
                is_api_error=source.chance(0.1),
            )
        elif session.connection.state is ConnectionState.OPEN and source.chance(0.3):
            session.connection_lost(source.text(), self._now, source.choice(_CODES))
        elif session.connection.state is ConnectionState.OPEN and source.chance(0.3):
            session.writable(self._now, is_writable=source.chance(0.6))

    def _wait(self) -> None:
        self._advance(self._now + self._source.one_of(0.01, 0.3, 1.0, 7.0, 200.0))

    def _application(self) -> None:
        session, source = self.session, self._source
        try:
            if isinstance(session, TurnsSession):
                changes = TurnSettings(turn_end_threshold=source.one_of(0.1, 0.3, 0.5))
                session.configure(changes, self._now)
            else:
                session.finalize(self._now, source.one_of(None, 0.5))
            session.set_epoch(source.random() * 1e9)
            session.update_keyterms(["one", source.text()], self._now)
            session.audio_stopped(self._now)
        except UsageError:
            return

    # --- time ---------------------------------------------------------------------------------

    def _advance(self, until: float) -> None:
        calls = 0
        while self.session.next_timeout <= until:
            self._now = max(self._now, self.session.next_timeout)
            self.session.timeout(self._now)
            self._settle()
            calls += 1
            assert calls < 20_000, "the session wants to be called without end"
        self._now = max(self._now, until)

    def _settle(self) -> None:
        """Take what the session gives, as its driver does; answer most pings."""
        actions = list(self.session.actions)
        self.session.actions.clear()
        self.events += self.session.events
        self.session.events.clear()
        for action in actions:
            if isinstance(action, Ping) and self._source.chance(0.9):
                wrong = self._source.one_of(-1, 0, action.number + 1)
                number = action.number if self._source.chance(0.9) else wrong
                self.session.pong_received(number, self._now)


def turns(source: Source) -> str:
    """A session with turns: whatever is received, the order of turns holds."""
    options = TurnsOptions(turn=TurnSettings(turn_end_timeout_ms=source.one_of(None, 640)))
    session = TurnsSession(options, _resilience(source), jitter=source.random, epoch=1e9)
    stage = Stage(session, source, "turns")
    stage.play()
    is_open = False
    for event in stage.events:
        match event:
            case TurnStart():
                assert not is_open, "a second start"
                is_open = True
            case TurnUpdate() | TurnEagerEnd() | TurnResume():
                assert is_open, f"{event.type} outside of a turn"
            case TurnEnd():
                assert is_open, "an end without a start"
                is_open = False
    assert not is_open, "a turn is still open"
    return _ended(session, stage)


def manual(source: Source) -> str:
    """A session of the manual endpoint."""
    session = ManualSession(ManualOptions(), _resilience(source), jitter=source.random, epoch=1e9)
    stage = Stage(session, source, "manual")
    stage.play()
    for event in stage.events:
        if isinstance(event, Final | Interim):
            event.text.encode()
    return _ended(session, stage)


def _ended(session: Session, stage: Stage) -> str:
    assert not any(isinstance(event, Unreachable) for event in stage.events)
    if session.rejection is not None:
        return "rejected"
    told = any(isinstance(event, TurnEnd | Final) and _text(event) for event in stage.events)
    return "with text" if told else "without text"


def _text(event: TurnEnd | Final) -> str:
    return event.transcript if isinstance(event, TurnEnd) else event.text


def _resilience(source: Source) -> Resilience:
    return Resilience(
        replay_buffer_seconds=source.one_of(60.0, 2.0),
        catch_up_rate=source.one_of(1.0, 2.0, 50.0),
        stall_timeout=source.one_of(1.0, 5.0),
        min_message_seconds=source.one_of(0.0, 0.04),
        idle=source.one_of("reconnect", "silence"),
    )
