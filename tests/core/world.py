"""A world without IO: a session, a scripted server and the network between them, in virtual time.

A minute of conversation takes milliseconds and comes out the same every time. Faults are values
with a time; what they do to the network is written down here and nowhere else.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
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
from cartesia_ink_plugins.server.engine import (
    Close,
    Outgoing,
    Raw,
    RecognitionStream,
    TurnThresholds,
)
from cartesia_ink_plugins.server.script import Script
from tests.core.hand import taken

FRAME = 0.02


@dataclass(frozen=True, slots=True)
class Fault:
    """Something the network or the server does at a time, in seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """The connection breaks; what is under way in both directions is lost."""


@dataclass(frozen=True, slots=True)
class Away(Fault):
    """The server is away for a while: the connection breaks, attempts fail."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hung(Fault):
    """The connection breaks; for a while attempts get no answer at all."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refusing(Fault):
    """The connection breaks; for a while attempts get an HTTP status."""

    seconds: float
    status: int = 503
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class HalfOpen(Fault):
    """The connection swallows everything from now on, in both directions."""


@dataclass(frozen=True, slots=True)
class Mute(Fault):
    """The server answers pings but says nothing more on this connection, nor on the next ones.

    Attributes:
        times: How many connections in a row.
    """

    times: int = 1


@dataclass(frozen=True, slots=True)
class Closing(Fault):
    """The server closes with a code, after an error message if there is a status."""

    code: int = 1011
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Flapping(Fault):
    """The connection breaks, and each of the next ones after a short life."""

    times: int = 5
    life: float = 0.6


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """Nothing arrives for a while, in either direction; then all of it does, in order."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Blocked(Fault):
    """The event loop of the application does nothing for a while; then all that is due."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Poison(Fault):
    """Every server dies of the audio at this time, in seconds of the script."""


@dataclass(frozen=True, slots=True)
class Change(Fault):
    """The application changes thresholds or keyterms."""

    turn: TurnSettings | None = None
    keyterms: tuple[str, ...] = ()


MARK = b"\xfe\x7f\x01\x80\xfe\x7f"
"""Audio that is nowhere in a script: poison."""


@dataclass(slots=True)
class Wire:
    """One connection as the network sees it."""

    ear: RecognitionStream
    alive: bool = True
    swallows: bool = False
    mute: bool = False
    received: int = 0
    up: float = 0.0
    down: float = 0.0


@dataclass
class World:
    """One caller, one session, one server."""

    script: Script
    faults: Sequence[Fault] = ()
    options: TurnsOptions = field(default_factory=TurnsOptions)
    resilience: Resilience = field(default_factory=Resilience)
    latency: float = 0.04
    jitter: float = 0.0
    tail: float = 3.0
    seed: int = 0
    audio: bytes | None = None
    repeat: int = 1
    chunk: float = FRAME
    patience: float = 60.0
    taps: Sequence[Tap] = ()
    muted: Sequence[tuple[float, float]] = ()
    now: float = 0.0
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
        self.wire: Wire | None = None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._away_until = self._hung_until = self._refusing_until = -1.0
        self._stalled_until = self._blocked_until = -1.0
        self._refusal: Refusing | None = None
        self._flaps: list[float] = []
        self._mutes = 0
        self._spoken_until = 0.0
        self._delays = random.Random(self.seed)

    # --- the caller ---------------------------------------------------------------------------

    def run(self, *, finish: bool = True, limit: float = 600.0) -> World:
        """Speak the whole script in real time, with all faults; then finish."""
        pcm = self.audio if self.audio is not None else self.script.audio(self.options.format)
        for fault in self.faults:
            if isinstance(fault, Poison):
                at = self.options.format.size(fault.at)
                pcm = pcm[:at] + MARK + pcm[at + len(MARK) :]
        tail = self.options.format.silence(self.tail)
        size = self.options.format.size(self.chunk)
        pieces = (
            part[at : at + size]
            for part in (*(pcm for _ in range(self.repeat)), tail)
            for at in range(0, len(part), size)
        )
        self._speak_next(pieces, finish=finish)
        for fault in self.faults:
            self.at(fault.at, partial(self._strike, fault))
        self.session.start(self.now)
        self._settle()
        self._run_until(limit)
        return self

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self._heap, (when, next(self._order), action))

    def _at_client(self, when: float, action: Callable[[], None]) -> None:
        """Let something happen in the process of the application, as soon as its loop runs."""

        def run() -> None:
            if self.now < self._blocked_until:
                self.at(self._blocked_until, run)
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

        piece = next(pieces, None)
        if piece is not None:
            self._spoken_until += len(piece) / self.options.format.byte_rate
            self._at_client(self._spoken_until, partial(speak, piece))
        elif finish:
            end = self.now + 0.05
            self._at_client(end, lambda: self.session.finish(self.now, self.patience))

    def _speak(self, pcm: bytes) -> None:
        is_muted = any(start < self.now <= end for start, end in self.muted)
        if not (self.session.is_closed or is_muted):
            self.session.audio_received(pcm, self.now)
            self.largest_buffer = max(
                self.largest_buffer,
                self.session.sender.buffer.end - self.session.sender.buffer.start,
            )

    # --- time ---------------------------------------------------------------------------------

    def _run_until(self, limit: float) -> None:
        while not self.session.is_closed and self.now < limit:
            deadline = max(self.session.next_timeout, self._blocked_until)
            if self._heap and self._heap[0][0] <= deadline:
                when, _, action = heapq.heappop(self._heap)
                self.now = max(self.now, when)
                action()
            elif deadline < float("inf"):
                self.now = max(self.now, deadline)
                self.session.timeout(self.now)
            else:
                break
            self._settle()

    def _settle(self) -> None:
        """Do what the session wants done."""
        for action in taken(self.session.actions):
            match action:
                case Connect():
                    self._dial()
                case Drop():
                    self._cut()
                case Ping(number=number):
                    self._to_server(partial(self._answer_ping, number=number))
                case bytes():
                    self._to_server(partial(self._hear, pcm=action))
                case str():
                    self._to_server(partial(self._command, text=action))
        self.history += [(self.now, event) for event in taken(self.session.events)]

    # --- the network --------------------------------------------------------------------------

    def _dial(self) -> None:
        self.dials.append(self.now)
        attempt = len(self.dials)
        if self.now < self._hung_until:
            return
        at = max(self.now, self._stalled_until) + 2 * self.latency
        self._at_client(at, lambda: self._answer(attempt))

    def _answer(self, attempt: int) -> None:
        if attempt != len(self.dials) or self.session.state is not ConnectionState.CONNECTING:
            return
        if self.now < self._away_until:
            self.session.connection_lost("refused", self.now)
        elif self.now < self._refusing_until and self._refusal is not None:
            refusal = self._refusal
            self.session.connection_rejected(
                refusal.status, self.now, retry_after=refusal.retry_after
            )
        elif self.now >= self._hung_until:
            self._open()

    def _open(self) -> None:
        box: list[Wire] = []

        def emit(messages: Sequence[Outgoing]) -> None:
            self._say(box[0], messages)

        options = self.options
        wire = Wire(self.engine.open(options.format, TurnThresholds(), emit))
        box.append(wire)
        self.wire = wire
        self.session.connection_opened(self.now, f"request-{len(self.dials)}")
        self._say(wire, [Connected()])
        if self._mutes:
            self._mutes -= 1
            wire.mute = True
        if self._flaps:
            self.at(self.now + self._flaps.pop(), lambda: self._break(wire))

    def _to_server(self, arrive: Callable[[Wire], None]) -> None:
        wire = self.wire
        if wire is None or wire.swallows:
            return

        def deliver() -> None:
            if wire.alive and not wire.swallows:
                arrive(wire)

        wire.up = max(wire.up, self._stalled_until, self.now + self._delay())
        self.at(wire.up, deliver)

    def _to_client(self, arrive: Callable[[], None], wire: Wire) -> None:
        def deliver() -> None:
            if wire is self.wire and wire.alive and not wire.swallows:
                arrive()

        wire.down = max(wire.down, self._stalled_until, self.now + self._delay())
        self._at_client(wire.down, deliver)

    def _delay(self) -> float:
        """How long a message is under way: mostly the latency, now and then much longer."""
        if not self.jitter:
            return self.latency
        return self.latency + self.jitter * self._delays.random() ** 8

    def _cut(self) -> None:
        """The client drops the connection."""
        if self.wire is not None:
            self.wire.alive = False
            self.wire = None

    def _break(self, wire: Wire | None, code: int = 1006) -> None:
        """The network or the server ends a connection."""
        if wire is None or wire is not self.wire:
            return
        wire.alive = False

        def notice() -> None:
            if wire is self.wire:
                self.wire = None
                self.session.connection_lost("broken", self.now, code)

        if self.now < self._blocked_until:
            self._at_client(self.now, notice)
        else:
            notice()

    # --- the server ---------------------------------------------------------------------------

    def _hear(self, wire: Wire, pcm: bytes) -> None:
        wire.received += len(pcm)
        wire.ear.receive_audio(pcm)
        if MARK in pcm:
            self.deaths.append(self.now)
            self._to_client(partial(self._break, wire, 1011), wire)

    def _tell_at_once(self, wire: Wire, text: str) -> None:
        if self.now >= self._blocked_until:
            self._tell(text)
        else:
            self._at_client(self.now, lambda: self._tell(text) if wire is self.wire else None)

    def _tell(self, text: str | bytes) -> None:
        self.session.message_received(text, self.now)

    def _answer_ping(self, wire: Wire, number: int) -> None:
        self._to_client(lambda: self.session.pong_received(number, self.now), wire)

    def _command(self, wire: Wire, text: str) -> None:
        command = json.loads(text)
        if command["type"] == "config":
            self.configs.append(command["turn"])
            return
        try:
            wire.ear.close().send(None)
        except StopIteration:
            self._to_client(lambda: self._break(wire, 1000), wire)

    def _say(self, wire: Wire, messages: Sequence[Outgoing]) -> None:
        if wire.mute:
            return
        for message in messages:
            if isinstance(message, Close):
                self._to_client(partial(self._break, wire, message.code), wire)
                continue
            data = message.data if isinstance(message, Raw) else message
            text = data if isinstance(data, str | bytes) else encode(data)
            self._to_client(partial(self._tell, text), wire)

    def _strike(self, fault: Fault) -> None:
        match fault:
            case Reset():
                self._break(self.wire)
            case Away(seconds=seconds):
                self._away_until = self.now + seconds
                self._break(self.wire)
            case Hung(seconds=seconds):
                self._hung_until = self.now + seconds
                self._break(self.wire)
            case Refusing(seconds=seconds):
                self._refusing_until = self.now + seconds
                self._refusal = fault
                self._break(self.wire)
            case HalfOpen():
                if self.wire is not None:
                    self.wire.swallows = True
            case Mute(times=times):
                if self.wire is not None:
                    self.wire.mute = True
                    self._mutes = times - 1
            case Closing(code=code, status=status):
                if self.wire is not None:
                    if status is not None:
                        error = encode(ErrorMessage(status, "the script says so"))
                        self._tell_at_once(self.wire, error)
                    self._break(self.wire, code)
            case Flapping(times=times, life=life):
                self._flaps = [life] * times
                self._break(self.wire)
            case Stall(seconds=seconds):
                self._stalled_until = self.now + seconds
            case Blocked(seconds=seconds):
                self._blocked_until = self.now + seconds
            case Change():
                self._at_client(self.now, partial(self._change, fault))

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
