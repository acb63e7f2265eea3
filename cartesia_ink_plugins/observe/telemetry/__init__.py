"""Spans and metrics of OpenTelemetry; needs the extra `telemetry`.

Where an application has configured OpenTelemetry, or Prometheus has one page for several
processes, every client tells of its turns, without a line of code. Elsewhere nothing is done.
`names` has every name that is told.
"""
