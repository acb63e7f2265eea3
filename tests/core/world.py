"""A world without IO: sessions, a scripted server and the network between, in virtual time.

A minute of conversation takes milliseconds and comes out the same every time. What goes wrong has
the names of `server.faults`; here is what a network without sockets makes of each.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import (
    Connected,
    Event,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.outbox import Connect, Drop, Ping
from cartesia_ink_plugins.core.tap import Tap
from cartesia_ink_plugins.core.turns.session import TurnsSession
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.cues import Line
from cartesia_ink_plugins.server.engine import Close, Raw, RecognitionStream, TurnThresholds
from cartesia_ink_plugins.server.fault_plan import ConnectionFaults, FaultPlan, OneWayLink
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    At,
    CloseAll,
    Deaf,
    Fault,
    Fin,
    HalfOpen,
    IgnoreClose,
    Join,
    Latency,
    NoPongs,
    Outage,
    Refuse,
    Reset,
    Say,
    Silence,
    Slice,
    Throttle,
)
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.validate import Command, parse_text
from tests.core.hand import taken

FRAME = 0.02


@dataclass(frozen=True, slots=True)
class Stall:
    """The network carries nothing for a while, in either direction; then all of it, in order."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Poison:
    """Every server dies of the audio at this time of the script."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The event loop of the application does nothing for a while; then all that is due."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Change:
    """The application changes thresholds or keyterms."""

    turn: TurnSettings | None = None
    keyterms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timed:
    """What happens at a time of the call.

    Attributes:
        at: Seconds since its beginning.
        action: Of a server, on the connection that is there; a fault, which may strike from then
            on; or what the network or the application does.
    """

    at: float
    action: Action | Fault | Stall | Poison | Blocked | Change


Trouble: TypeAlias = Timed | Fault


def silences(at: float, times: int) -> tuple[Timed, ...]:
    """The server says nothing more, nor does it on the next connections: so many in a row."""
    again = Fault(Silence(), At("upgrade"), times=times - 1) if times > 1 else None
    return Timed(at, Silence()), *([Timed(at, again)] if again else [])


def flapping(at: float, times: int, life: float) -> tuple[Timed, ...]:
    """The connection breaks, and so does each of the next ones after a short life, in seconds."""
    return Timed(at, Reset()), Timed(at, Fault(Reset(), At("seconds", life), times=times))


def refusals(at: float, times: int, status: int, retry_after: float) -> tuple[Timed, ...]:
    """The connection breaks, and so many attempts are told to come back in some seconds."""
    refuse = Refuse(status, retry_after)
    return Timed(at, Reset()), Timed(at, Fault(refuse, times=times))


MARK = b"\xfe\x7f\x01\x80\xfe\x7f"
"""Audio that is nowhere in a script: poison."""


class Clock:
    """Virtual time, and one event loop: all sessions on a clock are of one process."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0
        self.blocked_until = -1.0
        self._heap: list[tuple[float, float, int, World, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(
        self, when: float, world: World, action: Callable[[], None], due: float | None = None
    ) -> None:
        """Let something happen at a time; never, if that is infinity.

        Of what happens at the same time, what was due first comes first.
        """
        if when < FOREVER:
            place = when if due is None else due
            heapq.heappush(self._heap, (when, place, next(self._order), world, action))

    def run(self, worlds: Sequence[World], limit: float) -> None:
        """Let time pass until all sessions have ended."""
        heap, calling = self._heap, list(worlds)
        while calling and self.now < limit:
            world = min(calling, key=_next_timeout)
            deadline = max(_next_timeout(world), self.blocked_until)
            if heap and heap[0][0] <= deadline:
                when, _, _, world, action = heapq.heappop(heap)
                self.now = max(self.now, when)
                action()
            elif deadline < FOREVER:
                self.now = max(self.now, deadline)
                world.session.timeout(self.now)
            else:
                break
            world.settle()
            if world.session.is_closed and world in calling:
                calling.remove(world)


def _next_timeout(world: World) -> float:
    return world.session.next_timeout


@dataclass(slots=True, eq=False)
class Wire:
    """One connection, or the attempt at one, as the network and the server see it."""

    faults: ConnectionFaults
    up: OneWayLink
    down: OneWayLink
    thresholds: TurnThresholds = field(default_factory=TurnThresholds)
    ear: RecognitionStream | None = None
    alive: bool = True
    cut_off: bool = False  # by the server, but the client need not know yet
    pongs: bool = True
    ignores_close: bool = False
    silent_until: float = 0.0
    received: int = 0

    @property
    def is_open(self) -> bool:
        """Whether both sides take it for a connection."""
        return self.alive and not self.cut_off


@dataclass
class World:
    """One caller, one session, one server.

    Attributes:
        hang_up_after: Seconds of silence, behind the script and the last fault, after which the
            caller hangs up once no words are pending; else all of `tail` is sent.
        most_accepted: Connections that the server accepts within a second; None for any number.
        accepted: When it did, of all worlds that share the server.
    """

    script: Script
    faults: Sequence[Trouble] = ()
    options: TurnsOptions = field(default_factory=TurnsOptions)
    resilience: Resilience = field(default_factory=Resilience)
    latency: float = 0.04
    jitter: float = 0.0
    tail: float = 3.0
    hang_up_after: float = FOREVER
    seed: int = 0
    audio: bytes | None = None
    repeat: int = 1
    chunk: float = FRAME
    patience: float = 60.0
    taps: Sequence[Tap] = ()
    muted: Sequence[tuple[float, float]] = ()
    clock: Clock = field(default_factory=Clock)
    most_accepted: int | None = None
    accepted: deque[float] = field(default_factory=deque)
    history: list[tuple[float, Event]] = field(default_factory=list)
    dials: list[float] = field(default_factory=list)
    configs: list[object] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)
    largest_buffer: int = 0

    def __post_init__(self) -> None:
        """Put session and server together."""
        self.random = random.Random(self.seed)
        self.session = TurnsSession(
            self.options,
            self.resilience,
            jitter=self.random.random,
            epoch=1000.0,
            taps=self.taps,
        )
        self.engine = self.script.engine()
        self.format = self.options.format
        self.plan = FaultPlan([], self.seed)
        self._is_measured = False
        for fault in self.faults:
            if isinstance(fault, Fault):
                self._expect(fault)
        self.timed = [fault for fault in self.faults if isinstance(fault, Timed)]
        self.wire: Wire | None = None
        self._outage: Outage | None = None
        self._away_until = self._stalled_until = -1.0
        self._spoken_until = 0.0
        self._quiet_from = FOREVER
        self._delays = random.Random(self.seed)

    # --- the caller ---------------------------------------------------------------------------

    def run(self, *, finish: bool = True, limit: float = 600.0) -> World:
        """Speak the whole script in real time, with all faults; then finish."""
        self.begin(finish=finish)
        self.clock.run([self], limit)
        return self

    def begin(self, *, finish: bool = True) -> None:
        """Let the call begin now; `Clock.run` plays it."""
        pcm = self.audio if self.audio is not None else self.script.audio(self.format)
        for timed in self.timed:
            if isinstance(timed.action, Poison):
                at = self.format.size(timed.at)
                pcm = pcm[:at] + MARK + pcm[at + len(MARK) :]
            else:
                self.at(self.now + timed.at, partial(self._inject, timed.action))
        self._spoken_until = self.now
        if self.hang_up_after < FOREVER:
            last = max([self.format.seconds(len(pcm)), *(timed.at for timed in self.timed)])
            self._quiet_from = self.now + last + self.hang_up_after
        tail = self.format.silence(self.tail)
        size = self.format.size(self.chunk)
        pieces = (
            part[at : at + size]
            for part in (*(pcm for _ in range(self.repeat)), tail)
            for at in range(0, len(part), size)
        )
        self._speak_next(pieces, finish=finish)
        self.session.start(self.now)
        self.settle()

    @property
    def now(self) -> float:
        """The time, in seconds."""
        return self.clock.now

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self.clock.at(when, self, action)

    def _at_client(self, when: float, action: Callable[[], None]) -> None:
        """Let something happen in the process of the application, as soon as its loop runs."""

        def run() -> None:
            if self.clock.now < self.clock.blocked_until:
                self.clock.at(self.clock.blocked_until, self, run, due=when)
            else:
                action()

        self.at(when, run)

    @property
    def events(self) -> list[Event]:
        """What the application saw."""
        return [event for _, event in self.history]

    @property
    def finals(self) -> list[str]:
        """The text of every turn."""
        return [event.transcript for event in self.events if isinstance(event, TurnEnd)]

    def _speak_next(self, pieces: Iterator[bytes], *, finish: bool) -> None:
        """Say one piece after the other, as long as there are any."""

        def speak(piece: bytes) -> None:
            self._speak(piece)
            self._speak_next(pieces, finish=finish)

        piece = None if self._hangs_up() else next(pieces, None)
        if piece is not None:
            self._spoken_until += len(piece) / self.format.byte_rate
            self._at_client(self._spoken_until, partial(speak, piece))
        elif finish:
            end = self.now + 0.05
            self._at_client(end, lambda: self.session.finish(self.now, self.patience))

    def _hangs_up(self) -> bool:
        """Whether all has been said, nothing more goes wrong, and all words seem to have come."""
        return self._spoken_until >= self._quiet_from and not self.session.has_pending_transcript

    def _speak(self, pcm: bytes) -> None:
        is_muted = any(start < self.now <= end for start, end in self.muted)
        if not (self.session.is_closed or is_muted):
            self.session.audio_received(pcm, self.now)
            buffer = self.session.sender.buffer
            self.largest_buffer = max(self.largest_buffer, buffer.end - buffer.start)

    def settle(self) -> None:
        """Do what the session wants done."""
        session = self.session
        if session.actions:
            for action in taken(session.actions):
                match action:
                    case bytes():
                        self._to_server(partial(self._hear, pcm=action), len(action))
                    case Ping(number=number):
                        self._to_server(partial(self._answer_ping, number=number))
                    case Connect():
                        self._dial()
                    case Drop():
                        self._cut()
                    case str():
                        self._to_server(partial(self._command, text=action))
        if session.events:
            self.history += [(self.now, event) for event in taken(session.events)]

    # --- the network --------------------------------------------------------------------------

    def _dial(self) -> None:
        """Begin an attempt to connect."""
        self.dials.append(self.now)
        self.wire = Wire(self.plan.connection(), self._link(), self._link())
        self._to_server(self._upgrade)

    def _link(self) -> OneWayLink:
        """One direction of a new connection."""
        return OneWayLink(self._delays, latency=self.latency, blocked_until=self._stalled_until)

    def _to_server(self, arrive: Callable[[Wire], None], size: int = 0) -> None:
        wire = self.wire
        if wire is None:
            return

        def deliver() -> None:
            if wire.is_open:
                arrive(wire)

        self.at(wire.up.arrival(self.now + self._lateness(), size), deliver)

    def _to_client(
        self, wire: Wire, arrive: Callable[[], None], size: int = 0, *, overtakes: bool = False
    ) -> None:
        """Let something arrive at the client; a pong overtakes what a silent server holds back."""

        def deliver() -> None:
            if wire is self.wire and wire.alive:
                arrive()

        due = wire.down.arrival(self.now + self._lateness(), size)
        self._at_client(due if overtakes else max(due, wire.silent_until), deliver)

    def _lateness(self) -> float:
        """How much longer than usual a message is under way: mostly nothing, now and then much."""
        return self.jitter * self._delays.random() ** 8 if self.jitter else 0.0

    def _cut(self) -> None:
        """The client drops the connection."""
        if self.wire is not None:
            self.wire.alive = False
            self.wire = None

    def _break(self, wire: Wire | None, code: int | None = 1006) -> None:
        """The connection ends, and the client is told as soon as its event loop runs."""
        if wire is None or wire is not self.wire:
            return
        wire.alive = False

        def notice() -> None:
            if wire is self.wire:
                self.wire = None
                reason = "broken" if code else "refused"
                self.session.connection_lost(reason, self.now, code)

        if self.now < self.clock.blocked_until:
            self._at_client(self.now, notice)
        else:
            notice()

    # --- the server ---------------------------------------------------------------------------

    def _upgrade(self, wire: Wire) -> None:
        """Answer an attempt to connect, or do not."""
        if self.now < self._away_until and self._outage is not None:
            match self._outage.status:
                case 0:
                    self._to_client(wire, partial(self._break, wire, None))
                case -1:
                    pass
                case status:
                    self._refuse(wire, Refuse(status))
            return
        self._pass(wire, "connect")
        if not wire.is_open:
            return
        if self._is_full():
            self._refuse(wire, Refuse(429, retry_after=1.0))
            return
        wire.thresholds = self._configured(wire, self.session.options.turn)
        wire.ear = self.engine.open(self.format, wire.thresholds, partial(self._say, wire))
        self._to_client(wire, self._open)
        self._pass(wire, "upgrade")
        self._say(wire, [Connected()])

    def _is_full(self) -> bool:
        """Whether the server accepts no more connections in this second."""
        if self.most_accepted is None:
            return False
        while self.accepted and self.accepted[0] <= self.now - 1.0:
            self.accepted.popleft()
        if len(self.accepted) >= self.most_accepted:
            return True
        self.accepted.append(self.now)
        return False

    def _open(self) -> None:
        self.session.connection_opened(self.now, f"request-{len(self.dials)}")

    def _refuse(self, wire: Wire, refuse: Refuse) -> None:
        def reject() -> None:
            if self.session.connection.state is ConnectionState.CONNECTING:
                self.wire = None
                self.session.connection_rejected(
                    refuse.status, self.now, retry_after=refuse.retry_after
                )

        wire.cut_off = True
        self._to_client(wire, reject)

    def _hear(self, wire: Wire, pcm: bytes) -> None:
        assert wire.ear is not None, "audio before the upgrade"
        wire.received += len(pcm)
        wire.ear.receive_audio(pcm)
        if MARK in pcm:
            self.deaths.append(self.now)
            self._close(wire, Close(1011))
        if self._is_measured:
            self._measure(wire)

    def _answer_ping(self, wire: Wire, number: int) -> None:
        if wire.pongs:
            answer = partial(self.session.pong_received, number)
            self._to_client(wire, lambda: answer(self.now), overtakes=True)

    def _command(self, wire: Wire, text: str) -> None:
        assert wire.ear is not None, "a command before the upgrade"
        parsed = parse_text(text, wire.thresholds, Rules())
        if isinstance(parsed, TurnThresholds):
            self.configs.append(json.loads(text)["turn"])
            wire.thresholds = parsed
            wire.ear.configure(parsed)
            return
        assert parsed is Command.CLOSE, text
        self._pass(wire, "close")
        if wire.ignores_close or not wire.is_open:
            return
        try:
            wire.ear.close().send(None)
        except StopIteration:
            self._close(wire, Close(1000))

    def _configured(self, wire: Wire, settings: TurnSettings) -> TurnThresholds:
        """The thresholds of a connection that asks for some settings."""
        asked = settings.config()
        if not asked:
            return wire.thresholds
        parsed = parse_text(json.dumps({"type": "config", "turn": asked}), wire.thresholds, Rules())
        assert isinstance(parsed, TurnThresholds)
        return parsed

    def _say(self, wire: Wire, lines: Sequence[Line]) -> None:
        for line in lines:
            if not wire.is_open:
                return
            data = line.data if isinstance(line, Raw) else line
            if isinstance(data, Close):
                self._close(wire, data)
                continue
            kind = None if isinstance(data, str | bytes) else data.type
            text = data if isinstance(data, str | bytes) else encode(data)
            if kind is not None:
                self._approach(wire, kind)
            if wire.is_open:
                self._to_client(wire, partial(self._tell, text), len(text))
                if kind is not None:
                    self._reach(wire, kind)

    def _tell(self, text: str | bytes) -> None:
        self.session.message_received(text, self.now)

    def _close(self, wire: Wire, close: Close) -> None:
        """Close behind what was said before."""
        wire.cut_off = True
        self._to_client(wire, partial(self._break, wire, close.code))

    # --- what goes wrong ----------------------------------------------------------------------

    def _pass(self, wire: Wire, point: str) -> None:
        self._approach(wire, point)
        self._reach(wire, point)

    def _approach(self, wire: Wire, point: str) -> None:
        wire.faults.approach(point, self.now)
        self._act(wire)

    def _reach(self, wire: Wire, point: str) -> None:
        wire.faults.reach(point, self.now)
        self._act(wire)

    def _expect(self, fault: Fault) -> None:
        """Let a fault strike where it belongs; only what stands in the audio needs measuring."""
        self.plan.add(fault)
        self._is_measured = self._is_measured or fault.at.point in ("bytes", "audio")

    def _measure(self, wire: Wire) -> None:
        wire.faults.measure("bytes", wire.received, self.now)
        wire.faults.measure("audio", self.format.seconds(wire.received), self.now)
        self._act(wire)

    def _act(self, wire: Wire) -> None:
        """Let the faults of a connection strike that are due, and wait for the next one."""
        for action in wire.faults.due(self.now):
            if wire.is_open:
                self._inject_on(wire, action)
        if wire.faults.next_time is not None:
            self.at(wire.faults.next_time, partial(self._act, wire))

    def _inject(self, action: Action | Fault | Stall | Poison | Blocked | Change) -> None:
        """Let something happen now."""
        match action:
            case Fault():
                self._expect(action)
            case Stall(seconds=seconds):
                self._stalled_until = self.now + seconds
                if self.wire is not None:
                    for link in (self.wire.up, self.wire.down):
                        link.blocked_until = max(link.blocked_until, self._stalled_until)
            case Blocked(seconds=seconds):
                self.clock.blocked_until = max(self.clock.blocked_until, self.now + seconds)
            case Change():
                self._at_client(self.now, partial(self._change, action))
            case Outage():
                self._outage, self._away_until = action, self.now + action.seconds
                self._break(self.wire)
            case Poison():
                raise AssertionError("poison is in the audio")
            case _:
                if self.wire is not None:
                    self._inject_on(self.wire, action)

    def _inject_on(self, wire: Wire, action: Action) -> None:
        """Let a fault of the server strike a connection."""
        match action:
            case Reset() | Fin():
                self._break(wire)
            case Close() | CloseAll() | Say() if wire.ear is None:
                self._break(wire)  # there is no WebSocket yet
            case Close():
                self._close(wire, action)
            case CloseAll(code=code):
                self._close(wire, Close(code))
            case Say(lines=lines):
                self._say(wire, lines)
            case Refuse():
                self._refuse(wire, action)
            case Outage():
                self._inject(action)
            case Silence(seconds=seconds, pongs=pongs):
                wire.silent_until = max(wire.silent_until, self.now + seconds)
                wire.pongs = wire.pongs and pongs
            case Deaf(seconds=seconds):
                wire.up.blocked_until = max(wire.up.blocked_until, self.now + seconds)
            case HalfOpen():
                wire.silent_until = wire.up.blocked_until = FOREVER
                wire.pongs = False
            case NoPongs():
                wire.pongs = False
            case IgnoreClose():
                wire.ignores_close = True
            case Join(seconds=seconds):
                wire.down.join = seconds
            case Latency(seconds=seconds, jitter=jitter):
                for link in (wire.up, wire.down):
                    link.latency, link.jitter = seconds, jitter
            case Throttle(rate=rate):
                wire.up.rate = wire.down.rate = rate
            case Slice():
                pass  # messages come whole here

    def _change(self, change: Change) -> None:
        if self.session.is_closed:
            return
        if change.turn is not None:
            self.session.configure(change.turn, self.now)
        else:
            self.session.update_keyterms(change.keyterms, self.now)


def check_order(events: Sequence[Event]) -> None:
    """Starts and ends alternate, text never shrinks, nothing is said outside of a turn."""
    is_open = eager = False
    text = ""
    for event in events:
        match event:
            case TurnStart():
                assert not is_open, "a second start"
                is_open, eager, text = True, False, ""
            case TurnUpdate(transcript=said) | TurnEagerEnd(transcript=said):
                assert is_open, f"{event.type} outside of a turn"
                assert said.startswith(text), f"{said!r} is not {text!r} and more"
                text = said
                eager = eager or isinstance(event, TurnEagerEnd)
            case TurnResume():
                assert is_open and eager, "a resume without an eager end"
                eager = False
            case TurnEnd(transcript=said):
                assert is_open, "an end without a start"
                assert said.startswith(text), f"{said!r} is not {text!r} and more"
                is_open = False
    assert not is_open, "a turn is still open"


def turn_events(events: Sequence[Event]) -> list[TurnEvent]:
    """Only the events of turns."""
    kinds = (TurnStart, TurnUpdate, TurnEagerEnd, TurnResume, TurnEnd)
    return [event for event in events if isinstance(event, kinds)]


def default_format() -> AudioFormat:
    """What the options ask for when nothing is said."""
    return TurnsOptions().format
