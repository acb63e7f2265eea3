"""Which of the user's turns is open in a user aggregator, whatever order its frames arrive in."""

from __future__ import annotations

from dataclasses import dataclass

from pipecat.frames.frames import Frame

from cartesia_ink_plugins.pipecat.turn_frames import TurnStamp, stamp_of


@dataclass(slots=True)
class OpenTurn:
    """The turn that the aggregator has open.

    Attributes:
        number: As the service counts; None when the turn was not opened by a frame of the service.
        text: The final text of the turn that has arrived.
        stop_proposed: Whether the end of the turn has been proposed.
        announced_elsewhere: Whether another processor has announced that end already.
    """

    number: int | None
    text: str = ""
    stop_proposed: bool = False
    announced_elsewhere: bool = False


class TurnOrder:
    """Compares the numbers of the frames that arrive with the turn that is open."""

    def __init__(self, service: str) -> None:
        """No turn is open.

        Args:
            service: Whose stamps are looked at.
        """
        self._service = service
        self.open: OpenTurn | None = None
        self._last_started = self._last_stopped = self._last_closed = 0
        self._taken_back = (0, 0)
        self._held: dict[int, TurnStamp] = {}
        self._next = 0  # the turn that was held, and is put to the aggregator again

    def stamp_of(self, frame: Frame) -> TurnStamp | None:
        """The stamp of a frame; None when it was not made by the service."""
        stamp = stamp_of(frame)
        return stamp if stamp is not None and stamp.service == self._service else None

    @property
    def unfinished(self) -> int | None:
        """The turn that has started and is neither open nor has ended; None when there is none."""
        return self._last_started if self._last_started > self._last_closed else None

    @property
    def has_later(self) -> bool:
        """Whether a turn after the open one has started."""
        number = self.open.number if self.open else None
        return number is not None and self._last_started > number

    def started(self, stamp: TurnStamp) -> None:
        """The start of a turn has been proposed."""
        self._last_started = max(self._last_started, stamp.turn)

    def begin(self, number: int | None) -> None:
        """A turn is opened; its end may have been proposed already."""
        self.open, self._next = OpenTurn(number), 0
        self.open.stop_proposed = number is not None and number <= self._last_stopped

    def end(self) -> None:
        """The open turn has ended, because the service said so."""
        if self.open is not None and self.open.number is not None:
            self._last_closed = max(self._last_closed, self.open.number)
        self.open = None

    def is_over(self, number: int) -> bool:
        """Whether a turn has ended."""
        return number <= self._last_closed

    def concerns_open(self, frame: Frame) -> bool:
        """Whether a frame belongs to the turn that is open."""
        stamp = self.stamp_of(frame)
        if self.open is None:
            return False
        return stamp is None or self.open.number is None or stamp.turn == self.open.number

    def is_later(self, stamp: TurnStamp) -> bool:
        """Whether a stamp is that of a later turn than the one that is open, or is opened next."""
        if self.open is None:
            return self._last_closed < self._next < stamp.turn
        return self.open.number is not None and stamp.turn > self.open.number

    def advance(self, stamp: TurnStamp) -> None:
        """The final text of a later turn is there, so no more of the open one is to come."""
        if self.open is not None and self.is_later(stamp):
            self.open.number = stamp.turn
            self.open.stop_proposed = stamp.turn <= self._last_stopped
            self._drop_held(stamp.turn)

    def stopped(self, stamp: TurnStamp) -> None:
        """The end of a turn has been proposed."""
        self._last_stopped = max(self._last_stopped, stamp.turn)
        if stamp.has_text:
            return
        self._held.pop(stamp.turn, None)
        if self.open is None:
            self._last_closed = max(self._last_closed, stamp.turn)

    def take_back(self, stamp: TurnStamp) -> None:
        """The predictions of a turn so far are taken back, even those that have not arrived yet."""
        self._taken_back = max(self._taken_back, (stamp.turn, stamp.prediction))

    def is_taken_back(self, stamp: TurnStamp) -> bool:
        """Whether a prediction has arrived after the frame that takes it back."""
        return (stamp.turn, stamp.prediction) <= self._taken_back

    def hold(self, stamp: TurnStamp) -> None:
        """A later turn has started; it is opened when those before it have ended."""
        held = self._held.get(stamp.turn)
        if held is None or stamp.has_text:
            self._held[stamp.turn] = stamp

    def take_held(self) -> TurnStamp | None:
        """The first of the turns that have started meanwhile."""
        self._drop_held(self._last_closed)
        if not self._held:
            return None
        self._next = min(self._held)
        return self._held.pop(self._next)

    def _drop_held(self, last: int) -> None:
        """Forget the starts of turns up to one that is over or open."""
        self._held = {number: s for number, s in self._held.items() if number > last}
