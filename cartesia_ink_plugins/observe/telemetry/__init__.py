"""Spans and metrics of OpenTelemetry; needs the extra `telemetry`.

Where an application has configured OpenTelemetry, every client tells it of its turns, without a
line of code. Without configuration nothing is done. `names` has every name that is told.
"""
