"""The taps that every session gets because of the environment, without a line of code."""

from __future__ import annotations

import logging
import sys

from cartesia_ink_plugins.core.log import LOGGER_NAME
from cartesia_ink_plugins.core.tap import Tap


def environment_taps() -> list[Tap]:
    """Return new taps for one session.

    Telemetry: where the application, or a framework, has imported OpenTelemetry. Nobody can have
    configured it otherwise, and to import it costs time.
    """
    taps: list[Tap] = []
    if "opentelemetry.trace" in sys.modules and "opentelemetry.metrics" in sys.modules:
        try:
            from cartesia_ink_plugins.observe.telemetry.tap import telemetry_tap

            taps.append(telemetry_tap())
        except Exception:
            logging.getLogger(LOGGER_NAME).exception("OpenTelemetry cannot be used")
    return taps
