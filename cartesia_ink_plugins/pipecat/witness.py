"""How the service knows what became of a frame that others must not overtake.

In Pipecat a system frame overtakes every data frame on its way, so a withdrawal sent right behind a
prediction is handled before it and withdraws nothing. Whoever sends both has to know that the first
has been handled. The strategies recommended by the service run inside the aggregator; they hold a
`TurnWitness` and tell. What the aggregator makes of a prediction is seen at the LLM service.
"""

from __future__ import annotations

import asyncio
import time

from loguru import logger
from pipecat.frames.frames import EagerTranscriptionFrame, Frame

from cartesia_ink_plugins.pipecat.llms import LLMWatch

# What a frame is given to travel where its arrival is not seen: seconds, and turns of the event
# loop, should that be blocked meanwhile. Each processor on the way takes two turns.
_TRAVEL_TIME = 0.002
_TRAVEL_TURNS = 6


class TurnWitness:
    """What the service learns about the user aggregator and the LLM services."""

    def __init__(self, llms: LLMWatch, patience: float = 1.0) -> None:
        """Nobody uses the strategies yet.

        Args:
            llms: Where predictions are answered.
            patience: Seconds to wait for a frame that something in the pipeline may have dropped.
        """
        self._llms = llms
        self._patience = patience
        self._users = 0
        self._expected = -1
        self._is_prediction = False
        # When the frame, or what was made of it, set out on the way that is not seen.
        self._sent_at = 0.0
        self._handled = asyncio.Event()
        # A frame got lost on its way: no more waiting until one arrives again.
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
            self._sent_at = time.monotonic()
            self._handled.set()

    def expect(self, frame: Frame) -> None:
        """Watch for a frame that is about to be pushed."""
        self._expected = frame.id
        self._sent_at = time.monotonic()
        self._handled.clear()
        self._is_prediction = isinstance(frame, EagerTranscriptionFrame)
        if self._is_prediction:
            self._llms.expect_prediction()

    async def settled(self) -> None:
        """Wait until the expected frame was handled, and its consequences reached the LLM.

        Without an aggregator that tells, the frame is given time to travel and no more.
        """
        try:
            if self.attached and not self._estranged:
                await asyncio.wait_for(self._handled.wait(), self._patience)
                if self._is_prediction and self._llms.sees_any:
                    await self._llms.prediction_begun(self._patience)
                    self._sent_at = 0.0
        except TimeoutError:
            logger.debug("something in the pipeline keeps the user's words to itself")
            self._estranged = True
        await asyncio.sleep(max(0.0, self._sent_at + _TRAVEL_TIME - time.monotonic()))
        for _ in range(_TRAVEL_TURNS):
            await asyncio.sleep(0)
