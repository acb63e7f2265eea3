"""How the service knows that the user aggregator has handled a frame.

In Pipecat a system frame overtakes every data frame on its way, so a withdrawal sent right behind a
prediction is handled before it and withdraws nothing. Whoever sends both has to know that the first
has been handled. The strategies recommended by the service run inside the aggregator; they hold a
`TurnWitness` and tell.
"""

from __future__ import annotations

import asyncio

from pipecat.frames.frames import Frame

# How many turns of the event loop a frame is given to travel from the aggregator to the LLM
# service, which takes two for every processor on the way.
_TRAVEL = 32


class TurnWitness:
    """What the service learns from its strategies about the aggregator that uses them."""

    def __init__(self, patience: float = 1.0) -> None:
        """Nobody uses the strategies yet.

        Args:
            patience: Seconds to wait for a frame that something in the pipeline may have dropped.
        """
        self._patience = patience
        self._users = 0
        self._expected = -1
        self._handled = asyncio.Event()
        # A frame got lost on its way: no more waiting until one is handled again.
        self._estranged = False

    @property
    def attached(self) -> bool:
        """Whether an aggregator has adopted the recommended strategies."""
        return self._users > 0

    def attach(self) -> None:
        """An aggregator adopts the strategies."""
        self._users += 1

    def detach(self) -> None:
        """An aggregator lets go of the strategies."""
        self._users = max(0, self._users - 1)

    def handled(self, frame: Frame) -> None:
        """An aggregator has handled a frame; called for every frame that reaches it."""
        if frame.id == self._expected:
            self._estranged = False
            self._handled.set()

    def expect(self, frame: Frame) -> None:
        """Watch for a frame that is about to be pushed."""
        self._expected = frame.id
        self._handled.clear()

    async def settled(self) -> None:
        """Wait until the expected frame was handled, and its consequences reached the LLM.

        Without an aggregator that tells, the frame is given time to travel and no more.
        """
        if self.attached and not self._estranged:
            try:
                await asyncio.wait_for(self._handled.wait(), self._patience)
            except TimeoutError:
                self._estranged = True
        for _ in range(_TRAVEL):
            await asyncio.sleep(0)
