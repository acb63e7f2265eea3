"""What can happen to a call's connection, and what ought to be left of the call.

Every scenario is one call in real time over real sockets: a scripted caller, the local server, and
a proxy in front of it that plays the fault. Scripts stand on the clock of the audio, so words tell
whether audio was lost or sent twice.

What nobody wants to wait for in a test, such as long outages, is played by the benchmark, and by
virtual time (`tests/core/test_session.py`, `tests/core/test_chaos.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import (
    Action,
    At,
    Fault,
    Fin,
    HalfOpen,
    NoPongs,
    Outage,
    Refuse,
    Reset,
    Say,
    Silence,
)
from cartesia_ink_plugins.server.script import Script

CALLER = Script("Hello there.", "I'd like a table ... for two people.", "Tomorrow at seven.")
MID_TURN = At("turn.update", 4)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that goes wrong in a call.

    Attributes:
        name: For people.
        faults: What the proxy plays.
        tail: Seconds of silence after the last word, in which all must come right again.
        back_after: Seconds after the strike until the server can be reached again.
        noticed_within: Seconds that it may take to notice the fault, for the table.
        slow: Too long for the test suite; part of the benchmark only.
        caller: What is said.
        frame: Seconds of audio that the caller hands in at a time.
        muted: Seconds without any audio after the first turn.
        idle_timeout: Seconds without audio after which the server closes.
        start_threshold: What is asked for as `turn_start_threshold`; the server takes 0.5 to 0.9.
    """

    name: str
    faults: Sequence[Fault]
    tail: float = 3.0
    back_after: float = 0.0
    noticed_within: float = 0.0
    slow: bool = False
    caller: Script = CALLER
    frame: float = 0.02
    muted: float = 0.0
    idle_timeout: float = 180.0
    start_threshold: float | None = None


def _mid_turn(action: Action) -> tuple[Fault, ...]:
    return (Fault(action, MID_TURN),)


SCENARIOS = (
    Scenario("RST in mid-turn", _mid_turn(Reset())),
    Scenario("FIN without a close frame in mid-turn", _mid_turn(Fin())),
    Scenario("close 1012 in mid-turn", _mid_turn(Close(1012))),
    Scenario("error 500, then close 1011", _mid_turn(Say("fatal-500"))),
    Scenario("server away for 1 s in mid-turn", _mid_turn(Outage(1)), back_after=1),
    Scenario("server away for 6 s in mid-turn", _mid_turn(Outage(6)), tail=10, back_after=6),
    Scenario(
        "server away for 14 s in mid-turn", _mid_turn(Outage(14)), tail=24, back_after=14, slow=True
    ),
    Scenario(
        "server away for 45 s in mid-turn", _mid_turn(Outage(45)), tail=90, back_after=45, slow=True
    ),
    Scenario(
        "five connections that live half a second",
        (
            Fault(Reset(), At("turn.update", 2)),
            *(Fault(Reset(), At("seconds", 0.5), connection=number) for number in range(1, 6)),
        ),
        tail=6,
    ),
    Scenario("half-open in mid-turn", _mid_turn(HalfOpen()), tail=9, noticed_within=6),
    Scenario("no answer to pings", _mid_turn(NoPongs()), tail=9, noticed_within=6),
    Scenario("open but silent in mid-turn", _mid_turn(Silence()), tail=12, noticed_within=6),
    Scenario("503 for 2 s in mid-turn", _mid_turn(Outage(2, status=503)), tail=8, back_after=2),
    Scenario(
        "429 with Retry-After: 1, twice",
        (Fault(Refuse(429, retry_after=1), At("connect"), times=2),),
        tail=5,
    ),
    Scenario("hung handshake at the start", (Fault(Silence(), At("connect")),), tail=8),
    Scenario("malformed messages", _mid_turn(Say("malformed"))),
    Scenario("a huge message", _mid_turn(Say("huge"))),
    Scenario("a flood of 5000 messages", _mid_turn(Say("flood"))),
    Scenario("closed for idleness, then a turn", (), muted=4.0, idle_timeout=2.5),
)
"""Things that cost no word and cut no turn."""

REFUSALS = (
    Scenario("401", (Fault(Refuse(401), times=None),)),
    Scenario("thresholds that the server does not take", (), start_threshold=0.95),
)
"""Things that no redial can mend."""

CROWD = 50


def busy(size: int) -> Scenario:
    """What each of so many callers meets whose server is full at first."""
    return Scenario(
        "refused together",
        (Fault(Refuse(429, retry_after=1), times=size),),
        caller=Script("Hello there."),
        tail=4.0,
        frame=0.1,
    )


FLOODED = Scenario(
    "floods",
    tuple(
        Fault(Say(what), At("seconds", 0.5 + 0.25 * number))
        for number in range(30)
        for what in ("flood", "huge", "malformed", "binary")
    ),
)
"""150 000 messages nobody knows, and 60 MB in messages that are huge."""
