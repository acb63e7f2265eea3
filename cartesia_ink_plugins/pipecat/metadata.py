"""The metadata frame that recommends turn strategies to every user aggregator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from pipecat.frames.frames import STTMetadataFrame
from pipecat.turns.user_turn_strategies import UserTurnStrategies


@dataclass
class InkSTTMetadataFrame(STTMetadataFrame):
    """Recommends strategies of its own to each aggregator that reads `user_turn_strategies`.

    Strategies keep the state of one aggregator, and one frame reaches all aggregators.

    Parameters:
        recommend: Makes the strategies.
    """

    recommend: Callable[[], UserTurnStrategies | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Recommend nothing yet."""
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.recommend = _nothing

    @classmethod
    def extending(
        cls, frame: STTMetadataFrame, recommend: Callable[[], UserTurnStrategies]
    ) -> Self:
        """What another metadata frame tells, and a recommendation.

        Args:
            frame: The frame of the base class.
            recommend: Makes the strategies.
        """
        extended = cls(service_name=frame.service_name, ttfs_p99_latency=frame.ttfs_p99_latency)
        extended.recommend = recommend
        return extended

    def _strategies(self) -> UserTurnStrategies | None:
        return self.recommend()

    def _ignore(self, value: UserTurnStrategies | None) -> None:
        """A frame that is as_bytes gets the strategies of the original, too; it has its own."""


def _nothing() -> UserTurnStrategies | None:
    return None


# The field of the base class, made anew for everyone who reads it.
InkSTTMetadataFrame.user_turn_strategies = property(  # type: ignore[assignment]
    InkSTTMetadataFrame._strategies, InkSTTMetadataFrame._ignore
)
