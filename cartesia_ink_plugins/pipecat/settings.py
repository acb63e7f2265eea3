"""What can be changed in `InkTurnsSTTService` while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipecat.services.settings import STTSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, is_given

from cartesia_ink_plugins.core.options import TurnSettings
from cartesia_ink_plugins.core.validation import validated_keyterms

THRESHOLDS = tuple(TurnSettings.__dataclass_fields__)


def not_given() -> NotGiven:
    """The default of a field that the application did not set."""
    return NOT_GIVEN


@dataclass
class InkTurnsSTTSettings(STTSettings):
    """Settings of `InkTurnsSTTService`.

    A change of the four `turn_*` fields takes effect in mid-session, without a new connection. A
    change of the key terms takes effect between two turns, because the API takes them only when a
    connection opens; no audio is lost. `model` and `language` are fixed for a session.

    Parameters:
        keyterm: Words to expect: at most 100 terms and 1200 characters in total.
        turn_start_threshold: Likelihood above which a turn starts; 0.5 to 0.9 at the time of
            writing. None, as with the next three, leaves it to the server.
        turn_eager_end_threshold: Likelihood below which a turn may be over; 0.3 to 0.8.
        turn_end_threshold: Likelihood below which a turn is over; 0.05 to 0.5.
        turn_end_timeout_ms: Milliseconds after which a turn is over in any case; 640 to 11200.
    """

    keyterm: list[str] | NotGiven | None = field(default_factory=not_given)
    turn_start_threshold: float | NotGiven | None = field(default_factory=not_given)
    turn_eager_end_threshold: float | NotGiven | None = field(default_factory=not_given)
    turn_end_threshold: float | NotGiven | None = field(default_factory=not_given)
    turn_end_timeout_ms: int | NotGiven | None = field(default_factory=not_given)

    @classmethod
    def complete(cls, given: InkTurnsSTTSettings | None) -> InkTurnsSTTSettings:
        """What is given, and for everything else what leaves it to the server."""
        settings = cls(
            model="ink-2",
            language=None,
            keyterm=None,
            turn_start_threshold=None,
            turn_eager_end_threshold=None,
            turn_end_threshold=None,
            turn_end_timeout_ms=None,
        )
        if given is not None:
            settings.apply_update(given)
        return settings

    def changed_by(self, delta: STTSettings) -> InkTurnsSTTSettings:
        """These settings after a change.

        Raises:
            UsageError: They would make no sense.
        """
        changed = self.copy()
        STTSettings.apply_update(changed, delta)
        changed.turn_settings()
        validated_keyterms(changed.keyterms())
        return changed

    def turn_settings(self) -> TurnSettings:
        """The thresholds that are set.

        Raises:
            UsageError: They are out of order.
        """
        given = {name: getattr(self, name) for name in THRESHOLDS}
        return TurnSettings(**{name: value for name, value in given.items() if is_given(value)})

    def keyterms(self) -> list[str]:
        """The key terms; none is an empty list."""
        return list(self.keyterm) if is_given(self.keyterm) and self.keyterm else []
