"""One number that says whether the user is in a turn, and what follows from it.

Pure: chances and thresholds in, decisions out, 32 ms at a time.

The API speaks of one likelihood, 0 to 1, that the user is in a turn, and of three thresholds and a
timeout over it (https://docs.cartesia.ai/use-the-api/stt/turns/turns). Here it is made so:

    voice       rises to 1 within about 130 ms of speech (a leaky mean of what the VAD says), so
                that a click is no speech;
    a pause     lets it fall, the faster the more the words and the voice sound like the end of a
                turn: at once where they do, and late but then quickly where they do not.

So a higher eager threshold is met earlier in a pause, a lower end threshold later.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from cartesia_ink_plugins.core.turn_table import TurnState
from cartesia_ink_plugins.server.engine import TurnThresholds

STEP_SECONDS = 0.032

# In one step the mean moves this far towards what the VAD says: four steps from 0 to 0.87.
_ATTACK = 0.4
# The VAD's own hysteresis: from here it is speech, until it falls below the second.
_VOICED, _UNVOICED = 0.5, 0.35
# A pause is over when the mean is here again: three steps of certain speech.
_BACK = 0.75
# Gaps up to this belong to words, not between them: the likelihood begins to fall after it.
_HOLD_SECONDS = 0.128
# How long to wait, in seconds, by the chance that the turn is over. Chosen on the turns to tune on
# of `benchmarks/end_of_turn.py`, each judged by a model that was not fitted to it: of the pauses
# under 0.8 s no more than 5 in 100 may be taken for the end. What is most likely an answer is given
# 0.475 s; who may have finished, or may not, 0.8 s. The longest waits, which cut no such pause, are
# as long as 90 of 100 ends within 1.2 s allow.
_FINAL = (0.0, 0.15, 0.3, 0.4, 0.685, 0.715)
_PATIENCE = (1.4, 1.25, 1.05, 0.84, 0.8, 0.475)
_SHORTEST, _STEEPER_BY = _PATIENCE[-1], 1.5
# Where a likelihood of 1 has fallen to when a turn ends with the default threshold; from there it
# falls as pauses inside turns become rarer with their length. So the API's patient profile (0.1)
# waits 0.66 s longer.
_REFERENCE, _SURVIVAL_SECONDS = 0.3, 0.6


def patience(final: float) -> float:
    """How long a pause must be, in seconds, to end a turn with the default threshold.

    Args:
        final: Chance, 0 to 1, that the turn ends with it.
    """
    return float(np.interp(final, _FINAL, _PATIENCE))


def _steepness(patience: float) -> float:
    """How late the likelihood falls, and how quickly then.

    With a long patience nobody is told of an eager end that is most likely none: it leads the end
    by 0.19 s when that comes after 0.48 s, by 0.29 s when it comes after 0.83 s.
    """
    return 1.0 + _STEEPER_BY * max(0.0, patience - _SHORTEST)


class Likelihood:
    """The likelihood of one stream, step by step."""

    __slots__ = ("_patience", "_steps", "_voiced", "mean", "onset", "pause")

    def __init__(self) -> None:
        """Begin in silence.

        Attributes:
            mean: The leaky mean of the VAD's chances.
            pause: Seconds since the last speech of the turn; infinite when none is open.
            onset: Time in the stream, in seconds, at which the newest speech began.
        """
        self.mean = 0.0
        self.pause = math.inf
        self.onset = 0.0
        self._patience: float | None = None
        self._steps = 0
        self._voiced = False

    @property
    def value(self) -> float:
        """The likelihood, 0 to 1, that the user is in a turn."""
        return max(self.mean, self._fallen())

    @property
    def in_pause(self) -> bool:
        """Whether nobody speaks."""
        return self.pause > 0

    @property
    def voiced(self) -> bool:
        """Whether the last step itself was speech, be it a click."""
        return self._voiced

    def step(self, chance: float) -> None:
        """Take the VAD's chance that the next 32 ms are speech."""
        started = self._steps * STEP_SECONDS
        self._steps += 1
        if self.mean < _ATTACK / 2 and not self._voiced:
            self.onset = started
        self._voiced = chance >= (_UNVOICED if self._voiced else _VOICED)
        # What the VAD calls 0.7 likely is a voice.
        self.mean += _ATTACK * (min(1.0, chance / 0.7) - self.mean)
        if self.pause == math.inf:
            return
        if self._voiced and (self.pause == 0 or self.mean >= _BACK):
            self.pause = 0.0
            self._patience = None
        else:
            self.pause += STEP_SECONDS

    def begin(self) -> None:
        """A turn begins: somebody speaks, by whatever threshold."""
        self.pause = 0.0

    def judge(self, final: float) -> None:
        """Say how likely, 0 to 1, the turn ends with the present pause."""
        self._patience = patience(final)

    def forget(self) -> None:
        """A turn is over: what comes is a new one, and must rise from nothing."""
        self.pause = math.inf
        self._patience = None

    def _fallen(self) -> float:
        """How far the pause has let it fall; not at all while nobody has judged the pause."""
        if self.pause == math.inf:
            return 0.0
        if self.pause <= _HOLD_SECONDS or self._patience is None:
            return 1.0
        if self.pause > self._patience:
            return _REFERENCE * math.exp((self._patience - self.pause) / _SURVIVAL_SECONDS)
        share = (self.pause - _HOLD_SECONDS) / (self._patience - _HOLD_SECONDS)
        return math.pow(_REFERENCE, math.pow(share, _steepness(self._patience)))


class Decision(Enum):
    """What a step of the likelihood means for the turn."""

    START = "start"
    EAGER_END = "eager_end"
    RESUME = "resume"
    END = "end"


def decide(
    state: TurnState, likelihood: float, quiet: float, thresholds: TurnThresholds
) -> Decision | None:
    """Hold the likelihood against the thresholds.

    Args:
        state: Where the turn is.
        likelihood: 0 to 1, that the user is in a turn.
        quiet: Seconds for which nothing was said, whatever the likelihood.
        thresholds: What the connection asks for.

    Returns:
        What happens now, if anything.
    """
    if state is TurnState.IDLE:
        return Decision.START if likelihood > thresholds.start else None
    if likelihood < thresholds.end or quiet * 1000 >= thresholds.timeout_ms:
        return Decision.END
    if state is TurnState.SPEAKING and likelihood < thresholds.eager_end:
        return Decision.EAGER_END
    if state is TurnState.EAGER_ENDED and likelihood > thresholds.start:
        return Decision.RESUME
    return None
