"""The user turn strategies that `InkTurnsSTTService` recommends.

They are Pipecat's own eager strategies with three differences. They tell the service what the user
aggregator has handled, so that the service never lets a system frame overtake the data frames it
belongs behind. They leave the interruption to the service, which knows when words have come. And a
turn without words ends at once instead of waiting for the aggregator's watchdog.
"""

from __future__ import annotations

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    ProposedUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_start import ExternalUserTurnStartStrategy
from pipecat.turns.user_stop import EagerMatchPolicy, EagerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import (
    EagerUserTurnStrategies,
    ExternalUserTurnStrategies,
    UserTurnStrategies,
)

from cartesia_ink_plugins.pipecat.witness import TurnWitness


class InkUserTurnStopStrategy(EagerUserTurnStopStrategy):
    """Ends the user's turn when the service says so, with or without words."""

    def __init__(
        self,
        witness: TurnWitness,
        *,
        match_policy: EagerMatchPolicy | None = None,
        speculation_timeout: float,
    ) -> None:
        """Make a strategy that reports to `witness`.

        Args:
            witness: Learns of every frame that was handled.
            match_policy: Whether a reply to the eager words also answers the final ones.
            speculation_timeout: Seconds that a prediction may stay open.
        """
        super().__init__(match_policy=match_policy, speculation_timeout=speculation_timeout)
        self._witness = witness

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Start with the aggregator that adopts the strategy."""
        await super().setup(setup)
        self._witness.attach()

    async def cleanup(self) -> None:
        """Stop with the aggregator that lets go of the strategy."""
        self._witness.detach()
        # The base class leaves the timer of an open prediction running.
        await super().process_frame(EagerEndOfTurnCancelFrame())
        await super().cleanup()  # type: ignore[no-untyped-call]

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Handle a frame, end a turn without words, and tell the witness.

        Args:
            frame: What has reached the aggregator.

        Returns:
            Always CONTINUE, so that further strategies see the frame.
        """
        result = await super().process_frame(frame)
        if isinstance(frame, ProposedUserStoppedSpeakingFrame):
            # The base class waits for words that an empty turn never brings. When there were
            # words, the turn is over by now and this does nothing.
            await self.trigger_user_turn_stopped()
        self._witness.handled(frame)
        return result


def recommended_strategies(
    witness: TurnWitness,
    *,
    eager: bool,
    enable_interruptions: bool,
    match_policy: EagerMatchPolicy | None,
    speculation_timeout: float,
) -> UserTurnStrategies:
    """Build the strategies for a metadata frame.

    Args:
        witness: Reports from the aggregator to the service.
        eager: Whether predicted ends of turn are answered.
        enable_interruptions: Whether the user interrupts the bot; the service does it.
        match_policy: Whether a reply to the eager words also answers the final ones.
        speculation_timeout: Seconds that a prediction may stay open.

    Returns:
        The framework's own container, with our strategies in it.
    """
    strategies: UserTurnStrategies
    if eager:
        strategies = EagerUserTurnStrategies(
            match_policy=match_policy,
            speculation_timeout=speculation_timeout,
            enable_interruptions=enable_interruptions,
        )
    else:
        strategies = ExternalUserTurnStrategies(enable_interruptions=enable_interruptions)
    strategies.start = [ExternalUserTurnStartStrategy(enable_interruptions=False)]
    strategies.stop = [
        InkUserTurnStopStrategy(
            witness, match_policy=match_policy, speculation_timeout=speculation_timeout
        )
    ]
    return strategies
