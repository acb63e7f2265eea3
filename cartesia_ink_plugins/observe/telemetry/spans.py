"""The span of a turn: what is collected while the turn is open, and how it becomes a span."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from cartesia_ink_plugins.core.stats import Snapshot
from cartesia_ink_plugins.observe.telemetry import names

# A count; so many events a span has at most by OpenTelemetry's own default.
_MAX_EVENTS: Final = 128

Attributes = dict[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened in a turn.

    Attributes:
        name: As in `names`, or the type of a turn event.
        at: Wall-clock time, in seconds since 1970.
        attributes: Of the event.
    """

    name: str
    at: float
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(slots=True)
class TurnSpan:
    """The span of a turn, before it is told.

    Attributes:
        name: The operation and the model, as the conventions ask for.
        before: The numbers of the session when the turn began.
        began_at: Wall-clock time of the beginning of its speech, in seconds since 1970.
        ended_at: Wall-clock time of its final text.
        attributes: Of the span.
        events: In their order.
        error: What the turn failed of, as `error.type`; None when it did not.
        parent: The context of the framework's turn; None for the current one.
        tracer: What makes the span.
    """

    name: str
    before: Snapshot
    began_at: float = 0.0
    ended_at: float = 0.0
    attributes: Attributes = field(default_factory=dict)
    events: list[SpanEvent] = field(default_factory=list)
    error: str | None = None
    parent: Context | None = None
    tracer: Tracer | None = None

    def add_event(self, event: SpanEvent) -> None:
        """Add an event, as long as a span can have it."""
        if len(self.events) < _MAX_EVENTS:
            self.events.append(event)

    def add_audio(self, after: Snapshot) -> None:
        """Add the seconds of audio of the turn, given the numbers of the session at its end."""
        before = self.before
        self.attributes |= {
            names.SECONDS_SENT: round(max(0.0, after.sent - before.sent), 3),
            names.SECONDS_REPLAYED: round(after.replayed - before.replayed, 3),
            names.SECONDS_LOST: round(after.lost - before.lost, 3),
            names.SECONDS_SILENT: round(after.silence - before.silence, 3),
        }

    def tell(self) -> None:
        """Make the span and end it, all with the times at which it happened."""
        if self.tracer is None:
            return
        span = self.tracer.start_span(
            self.name,
            context=self.parent,
            kind=SpanKind.CLIENT,
            attributes=self.attributes,
            start_time=nanoseconds(self.began_at),
        )
        for event in self.events:
            span.add_event(event.name, event.attributes, nanoseconds(event.at))
        if self.error is not None:
            span.set_attribute(names.ERROR_TYPE, self.error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(nanoseconds(self.ended_at))


def nanoseconds(seconds: float) -> int:
    """Return a time as OpenTelemetry takes it."""
    return int(seconds * 1e9)
