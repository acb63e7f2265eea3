"""A manual session, a server and the network between them, without IO and in virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from cartesia_ink_plugins.core.events import (
    Done,
    ErrorMessage,
    Final,
    FlushDone,
    Interim,
    ManualEvent,
    Transcript,
)
from cartesia_ink_plugins.core.manual.session import ManualSession
from cartesia_ink_plugins.core.options import ManualOptions, Resilience
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.outbox import Connect, Drop, Ping
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.manual_engine import ManualRequest
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.script_manual import ScriptManualStream
from tests.core.hand import taken

FRAME = 0.02


@dataclass(slots=True, eq=False)
class Wire:
    """One connection."""

    ear: ScriptManualStream
    number: int


@dataclass
class ManualWorld:
    """One caller who pushes to talk, one session, one server.

    Attributes:
        script: What the caller says; after each turn comes a finalize.
        answers: Whether the server says `flush_done`.
        latency: One way, in seconds.
        timeout: Of each finalize.
        patience: Seconds that finish may take.
    """

    script: Script
    options: ManualOptions = field(default_factory=ManualOptions)
    resilience: Resilience = field(default_factory=Resilience)
    answers: bool = True
    latency: float = 0.04
    timeout: float | None = None
    patience: float = 60.0
    now: float = 0.0
    history: list[tuple[float, ManualEvent]] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    dials: list[float] = field(default_factory=list)
    away: tuple[float, float] = (-1.0, -1.0)

    def __post_init__(self) -> None:
        """Put session and server together."""
        self.session = ManualSession(
            self.options, self.resilience, jitter=lambda: 0.5, epoch=1000.0
        )
        self.wire: Wire | None = None
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    @property
    def events(self) -> list[ManualEvent]:
        """What the application saw."""
        return [event for _, event in self.history]

    @property
    def finals(self) -> list[str]:
        """The texts of the finals."""
        return [event.text for event in self.events if isinstance(event, Final)]

    @property
    def interims(self) -> list[str]:
        """The texts of the interims."""
        return [event.text for event in self.events if isinstance(event, Interim)]

    # --- the caller ---------------------------------------------------------------------------

    def run(self, *, finalize: bool = True, finish: bool = True, limit: float = 120.0) -> None:
        """Speak the script in real time, finalize after each turn, and finish."""
        format = self.options.format
        pcm, size = self.script.audio(format), format.size(FRAME)
        for number, at in enumerate(range(0, len(pcm), size), start=1):
            piece = pcm[at : at + size]
            self.at(number * FRAME, partial(self._send, piece))
        if finalize:
            for _, end in self.script.spans:
                self.at(end + 0.31, self.finalize)
        self.session.start(self.now)
        self._settle()
        if finish:
            self.at(
                format.seconds(len(pcm)) + 0.1, lambda: self.session.finish(self.now, self.patience)
            )
        self.run_until(limit)

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self._heap, (when, next(self._order), action))

    def finalize(self) -> None:
        """Say that speech is over."""
        if not self.session.is_closed:
            self.session.finalize(self.now, self.timeout)

    def cut(self, code: int = 1006) -> None:
        """The connection breaks; what is under way is lost."""
        if self.wire is not None:
            self.wire = None
            self.session.connection_lost("broken", self.now, code)

    def run_until(self, limit: float) -> None:
        """Let time pass."""
        while not self.session.is_closed and self.now < limit:
            deadline = self.session.next_timeout
            if self._heap and self._heap[0][0] <= min(deadline, limit):
                when, _, action = heapq.heappop(self._heap)
                self.now = max(self.now, when)
                action()
            elif deadline < limit:
                self.now = max(self.now, deadline)
                self.session.timeout(self.now)
            else:
                self.now = limit
            self._settle()

    def _send(self, pcm: bytes) -> None:
        if not self.session.is_closed:
            self.session.audio_received(pcm, self.now)

    def _settle(self) -> None:
        for action in taken(self.session.actions):
            match action:
                case Connect():
                    self.dials.append(self.now)
                    self.at(self.now + 2 * self.latency, self._open)
                case Drop():
                    self.wire = None
                case Ping(number=number):
                    self._to_server(partial(self._answer_ping, number))
                case bytes():
                    self._to_server(partial(_hear, action))
                case str():
                    self._to_server(partial(self._command, action))
        self.history += [(self.now, event) for event in taken(self.session.events)]

    # --- network and server -------------------------------------------------------------------

    def _open(self) -> None:
        if self.session.connection.state is not ConnectionState.CONNECTING:
            return
        if self.away[0] <= self.now < self.away[1]:
            self.session.connection_lost("refused", self.now)
            return
        box: list[Wire] = []

        def emit(transcripts: Sequence[Transcript]) -> None:
            for transcript in transcripts:
                self._say(box[0], transcript)

        request = ManualRequest(model=self.options.model, format=self.options.format)
        ear = ScriptManualStream(
            request, emit, vocabulary=self.script.vocabulary, timing=self.script.timing
        )
        box.append(Wire(ear, len(self.dials)))
        self.wire = box[0]
        self.session.connection_opened(self.now, f"request-{len(self.dials)}")

    def _to_server(self, arrive: Callable[[Wire], object]) -> None:
        wire = self.wire
        if wire is not None:
            self.at(self.now + self.latency, lambda: wire is self.wire and arrive(wire))

    def _answer_ping(self, number: int, wire: Wire) -> None:
        self._say(wire, number)

    def _say(self, wire: Wire, message: Transcript | FlushDone | Done | ErrorMessage | int) -> None:
        """Send a message; a number is the pong of that ping."""

        def arrive() -> None:
            if wire is self.wire:
                if isinstance(message, int):
                    self.session.pong_received(message, self.now)
                else:
                    self.session.message_received(encode(message), self.now)

        self.at(self.now + self.latency, arrive)

    def _command(self, text: str, wire: Wire) -> None:
        self.commands.append((wire.number, text))
        wire.ear.flush()
        if text == "finalize":
            if self.answers:
                self._say(wire, FlushDone())
            return
        self._say(wire, Done())

        def close() -> None:
            if wire is self.wire:
                self.cut(1000)

        self.at(self.now + self.latency, close)


def _hear(pcm: bytes, wire: Wire) -> None:
    wire.ear.receive_audio(pcm)
