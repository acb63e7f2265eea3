"""What an application gives a session, and remembers what it was told."""

from __future__ import annotations

from cartesia_ink_plugins.core.tap import Moment, MomentKind


class Impatient:
    """A policy of the application: always the same delay."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def delay(self, now: float) -> float:
        return 0.125

    def delay_when_busy(self, now: float, retry_after: float | None) -> float:
        return 0.125


class SettingsTap:
    """Remembers the options that it is told of."""

    kinds = (MomentKind.SETTINGS,)

    def __init__(self) -> None:
        self.told: list[object] = []

    def on(self, moment: Moment) -> None:
        self.told.append(moment.payload)
