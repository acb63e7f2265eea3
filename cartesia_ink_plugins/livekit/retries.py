"""How often a stream may fail to connect before LiveKit is told: what `conn_options` say.

The counting is that of `RecognizeStream`, which retries plugins that connect once in each run: with
`max_retry=3` the fourth failure in a row ends the stream. Here the client connects again by itself,
so it asks this policy how long to wait, and the policy counts.
"""

from __future__ import annotations

from livekit.agents import APIConnectOptions


class RetryBudget:
    """A reconnect policy for `set_reconnect_policy` that runs out.

    A connection that worked, because a turn event came or ten seconds passed, is no failure when it
    is lost; one that is lost before that is, as is an attempt that made none.
    """

    def __init__(self, options: APIConnectOptions) -> None:
        """Begin with no failure."""
        self._options = options
        self._failures = 0
        self._worked = False

    @property
    def connect_timeout(self) -> float:
        """Seconds until a hung attempt is given up."""
        return self._options.timeout

    @property
    def is_spent(self) -> bool:
        """Whether all attempts have failed."""
        return self._failures > self._options.max_retry

    def reset(self) -> None:
        """The connection works: begin anew."""
        self._failures = 0
        self._worked = True

    def delay(self, now: float) -> float:
        """Count a failure; return the seconds to wait until the next attempt."""
        if self._worked:
            self._worked = False
            return 0.0
        self._failures += 1
        # As the base class waits, which has no public name for it: 0.1 s, then the interval.
        return 0.1 if self._failures == 1 else self._options.retry_interval

    def delay_when_busy(self, now: float, retry_after: float | None) -> float:
        """As `delay`: whoever limits the attempts wants them made, whatever the server asks."""
        return self.delay(now)
