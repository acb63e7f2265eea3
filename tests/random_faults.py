"""Random faults for a conversation, which a correct client recovers from."""

from __future__ import annotations

import random
from collections.abc import Callable

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    At,
    Deaf,
    Fault,
    Fin,
    HalfOpen,
    Join,
    Latency,
    NoPongs,
    Outage,
    Reset,
    Say,
    Silence,
    Slice,
    Throttle,
)


def random_faults(seed: int, *, seconds: float, count: int = 4, rough: bool = True) -> list[Fault]:
    """Draw a random schedule of faults for a conversation.

    Args:
        seed: The same seed draws the same faults.
        seconds: Length of the conversation.
        count: Number of faults.
        rough: Whether the server may also send invalid messages.
    """
    draw = random.Random(seed)
    return [Fault(_random_action(draw, rough), _random_place(draw, seconds)) for _ in range(count)]


_HARMLESS = ("malformed", "wrong-types", "no-transcript", "unknown-type", "binary", "not-object")


def _random_action(draw: random.Random, rough: bool) -> Action:
    choices: list[Callable[[], Action]] = [
        Reset,
        Reset,
        Fin,
        HalfOpen,
        NoPongs,
        lambda: Close(draw.choice([1001, 1005, 1006, 1011, 1012, 1013])),
        lambda: Silence(draw.choice([0.5, 2.0, FOREVER])),
        lambda: Deaf(draw.choice([0.5, 2.0, FOREVER])),
        lambda: Outage(draw.uniform(0.2, 8.0), draw.choice([0, -1, 500, 503, 429])),
        lambda: Latency(draw.uniform(0.01, 0.3), draw.uniform(0, 0.2)),
        lambda: Slice(draw.randint(1, 40)),
        lambda: Join(draw.uniform(0.05, 0.6)),
        lambda: Throttle(draw.uniform(40_000, 200_000)),
        lambda: Say(draw.choice(["fatal-500", "error-500", "error-503"])),
    ]
    if rough:
        choices += [lambda: Say(draw.choice(_HARMLESS))] * 2
    return draw.choice(choices)()


def _random_place(draw: random.Random, seconds: float) -> At:
    spread = draw.choice([0.0, 0.0, 0.3])
    match draw.randrange(4):
        case 0:
            return At("audio", draw.uniform(0, seconds), spread=spread)
        case 1:
            return At("seconds", draw.uniform(0, seconds), spread=spread)
        case 2:
            point = draw.choice(["connected", "turn.start", "turn.eager_end", "turn.end"])
            return At(point, draw.randint(1, 3), spread=spread, before=draw.random() < 0.4)
        case _:
            return At("turn.update", draw.randint(1, 8), spread=spread, before=draw.random() < 0.4)
