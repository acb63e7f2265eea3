"""The tap that tells OpenTelemetry of one session: a span a turn, and metrics."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache, partial
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Tracer
from opentelemetry.util.types import AttributeValue

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import (
    ConnectFailed,
    Disconnected,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
)
from cartesia_ink_plugins.core.options import ConnectionOptions, TurnsOptions
from cartesia_ink_plugins.core.stats import NO_NUMBERS, Snapshot
from cartesia_ink_plugins.core.tap import (
    Moment,
    MomentKind,
    SessionStart,
    Span,
    Speculation,
    Tracing,
)
from cartesia_ink_plugins.core.validation import websocket_url
from cartesia_ink_plugins.observe.telemetry import names
from cartesia_ink_plugins.observe.telemetry.metrics import Instruments
from cartesia_ink_plugins.observe.telemetry.spans import Attributes, SpanEvent, TurnSpan
from cartesia_ink_plugins.observe.telemetry.worker import TelemetryWorker
from cartesia_ink_plugins.observe.turns import TURN_KINDS, TurnReport, TurnTracker

_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable with which the conventions let a user ask for content."""
_NO_SPECULATION = "none"
_NEW_OPTIONS = "new options"


class TelemetryTap:
    """Collects what happens in a session, and has a worker tell it when a turn is over.

    A turn whose reply was begun before its end is told when it is known what became of that reply,
    or when the next turn begins.
    """

    kinds = TURN_KINDS | {
        MomentKind.SETTINGS,
        MomentKind.OPENED,
        MomentKind.LOST,
        MomentKind.REJECTED,
        MomentKind.REPLAY_ENDED,
        MomentKind.SPECULATION_BEGAN,
        MomentKind.SPECULATION_ENDED,
    }

    def __init__(
        self,
        tracer: Tracer,
        instruments: Instruments,
        worker: TelemetryWorker,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Tell nothing before the session begins.

        Args:
            tracer: Makes the spans, where the framework has no tracer of its own.
            instruments: Of all sessions.
            worker: Calls OpenTelemetry.
            is_wanted: Whether anybody listens to the tracer and the instruments.
        """
        self._tracer = tracer
        self._instruments = instruments
        self._worker = worker
        self._is_wanted = is_wanted
        self._captures_text = captures_text()
        self._turns = TurnTracker()
        self._start: SessionStart | None = None
        self._read: Callable[[], Snapshot] = _no_numbers
        self._session: Attributes = {}
        self._settings: Attributes = {}
        self._span: TurnSpan | None = None
        self._waiting: TurnSpan | None = None  # until it is known what became of the reply
        self._is_speculating = False
        self._outcome = _NO_SPECULATION
        self._error: str | None = None

    def on(self, moment: Moment) -> None:
        """Collect a moment."""
        report = self._turns.on(moment)
        self._collect(moment, self._turns.wall_clock(moment))
        if report is not None:
            self._turn_ended(report)
        elif self._turns.turn is not None and self._span is None:
            self._turn_began(moment)

    def _collect(self, moment: Moment, at: float) -> None:
        payload = moment.payload
        match moment.kind:
            case MomentKind.STARTED if isinstance(payload, SessionStart):
                self._began(payload)
            case MomentKind.SETTINGS if isinstance(payload, ConnectionOptions):
                self._settings = settings(payload)
            case MomentKind.OPENED:
                cause = "start" if moment.connection <= 1 else "reconnect"
                self._connection("opened", cause, at, names.CONNECTION_OPENED)
            case MomentKind.LOST if isinstance(payload, Disconnected | ConnectFailed):
                event = "lost" if isinstance(payload, Disconnected) else "failed"
                self._connection(event, cause_of(payload), at, names.CONNECTION_LOST)
            case MomentKind.REJECTED if isinstance(payload, RejectedError):
                self._error = str(payload.status or "rejected")
                self._connection("rejected", self._error, at)
            case MomentKind.REPLAY_ENDED if isinstance(payload, Span):
                self._event(SpanEvent(names.AUDIO_REPLAYED, at, {names.SECONDS: payload.seconds}))
            case MomentKind.EVENT if isinstance(payload, TurnEagerEnd | TurnResume):
                self._event(SpanEvent(payload.type, at))
            case MomentKind.SPECULATION_BEGAN:
                self._is_speculating = True
            case MomentKind.SPECULATION_ENDED if isinstance(payload, Speculation):
                self._speculation_ended(payload)
            case MomentKind.FINISHED:
                self._finished()
            case _:
                pass

    # --- the session --------------------------------------------------------------------------

    def _began(self, start: SessionStart) -> None:
        self._start = start
        self._session = session_attributes(start.options)
        self._settings = settings(start.options)
        self._span = self._waiting = self._error = None
        self._is_speculating, self._outcome = False, _NO_SPECULATION
        self._read = start.snapshot or _no_numbers
        self._instruments.audio.began(self, self._read)

    def _finished(self) -> None:
        self._tell_waiting()
        self._instruments.audio.ended(self)
        self._read = _no_numbers  # the tap may outlive the session

    def _connection(self, event: str, cause: str, at: float, span_event: str = "") -> None:
        self._measured(partial(self._instruments.connection_event, event, cause, self._session))
        if span_event:
            self._event(SpanEvent(span_event, at, {names.CAUSE: cause}))

    def _event(self, event: SpanEvent) -> None:
        """Add an event to the turn that is open."""
        if self._span is not None:
            self._span.add_event(event)

    # --- turns --------------------------------------------------------------------------------

    def _turn_began(self, moment: Moment) -> None:
        self._tell_waiting()
        self._span = self._new_span()
        if isinstance(moment.payload, TurnStart):
            self._event(SpanEvent(TurnStart.type, self._turns.wall_clock(moment)))

    def _new_span(self) -> TurnSpan:
        model = self._start.options.model if self._start else ""
        return TurnSpan(f"{names.OPERATION} {model}".rstrip(), self._read())

    def _turn_ended(self, report: TurnReport) -> None:
        span, self._span = self._span or self._new_span(), None
        span.add_event(SpanEvent(TurnEnd.type, report.ended_at))
        span.add_audio(self._read())
        span.began_at, span.ended_at = report.began_at, report.ended_at
        span.error, span.parent, span.tracer = self._error, self._parent(), self._tracer_of_turn()
        span.attributes |= {
            **(self._framework.attributes() if self._framework else {}),
            **self._session,
            **self._settings,
            names.TURN_INDEX: report.number,
            names.PREDICTIONS: report.predictions,
            names.RESUMES: report.resumes,
            names.SESSION_ID: self._start.session_id if self._start else "",
        }
        optional: dict[str, AttributeValue | None] = {
            names.RESPONSE_ID: report.request_id,
            names.END_LATENCY: report.end_latency,
            names.EAGER_LEAD: report.eager_lead,
            names.TRANSCRIPT: report.transcript if self._captures_text else None,
        }
        span.attributes |= {name: value for name, value in optional.items() if value is not None}
        self._measure(report)
        self._waiting = span
        if not self._is_speculating:
            self._tell_waiting()

    def _measure(self, report: TurnReport) -> None:
        attributes = dict(self._session)
        if self._error is not None:
            attributes[names.ERROR_TYPE] = self._error
        self._measured(partial(self._instruments.turn_ended, report, attributes))

    def _speculation_ended(self, speculation: Speculation) -> None:
        self._is_speculating, self._outcome = False, speculation.outcome.value
        self._measured(partial(self._instruments.speculation_ended, speculation, self._session))
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Tell the turn that is over, if one waits for that."""
        span, self._waiting = self._waiting, None
        if span is None:
            return
        span.attributes[names.SPECULATION] = self._outcome
        self._is_speculating, self._outcome = False, _NO_SPECULATION
        if span.tracer is not self._tracer or self._is_wanted():
            self._worker.do(span.tell)

    # --- the framework ------------------------------------------------------------------------

    @property
    def _framework(self) -> Tracing | None:
        return self._start.tracing() if self._start and self._start.tracing else None

    def _parent(self) -> Context:
        """Return the context of the framework's turn, or else the current one."""
        context = self._framework.turn_context() if self._framework else None
        return context if isinstance(context, Context) else otel_context.get_current()

    def _tracer_of_turn(self) -> Tracer:
        """Return what the framework makes the spans of this turn with, or else ours."""
        tracer = self._framework.tracer() if self._framework else None
        return tracer if isinstance(tracer, Tracer) else self._tracer

    def _measured(self, task: Callable[[], None]) -> None:
        """Have instruments told, if anybody listens to them."""
        if self._is_wanted():
            self._worker.do(task)


# --- what is told ---------------------------------------------------------------------------------


def session_attributes(options: ConnectionOptions) -> Attributes:
    """Return the attributes that spans and metrics of a session share."""
    address = urlsplit(websocket_url(options.base_url, options.path))
    attributes: Attributes = {
        names.OPERATION_NAME: names.OPERATION,
        names.PROVIDER_NAME: names.PROVIDER,
        names.REQUEST_MODEL: options.model,
        names.SERVER_ADDRESS: address.hostname or "",
    }
    if address.port is not None:
        attributes[names.SERVER_PORT] = address.port
    return attributes


def settings(options: ConnectionOptions) -> Attributes:
    """Return the thresholds in force, as far as they were set."""
    if not isinstance(options, TurnsOptions):
        return {}
    return {names.SETTINGS + name: float(value) for name, value in options.turn.parameters()}


def cause_of(event: Disconnected | ConnectFailed) -> str:
    """Return why a connection was lost or not opened; one of few, and no text of others."""
    if event.reason == _NEW_OPTIONS:
        return "new_options"
    code = event.code if isinstance(event, Disconnected) else event.status
    if code is not None:
        return str(code)
    if isinstance(event, ConnectFailed):
        return "timeout" if event.timed_out else "unreachable"
    return "unresponsive"


def captures_text() -> bool:
    """Whether the user asks for transcripts, as the conventions say."""
    value = os.environ.get(_CAPTURE, "").strip().lower()
    return value in ("1", "true", "span_only", "span_and_event")


def is_configured() -> bool:
    """Whether somebody has given OpenTelemetry something to do; its own defaults do nothing."""
    providers = trace.get_tracer_provider(), metrics.get_meter_provider()
    own = ("opentelemetry.trace", "opentelemetry.metrics")
    return not all(type(provider).__module__.startswith(own) for provider in providers)


def shares_page() -> bool:
    """Whether Prometheus' own client is in use, for one page for several processes."""
    return "prometheus_client" in sys.modules and "PROMETHEUS_MULTIPROC_DIR" in os.environ


def _no_numbers() -> Snapshot:
    return NO_NUMBERS


@cache
def _of_process() -> tuple[Tracer, Instruments, TelemetryWorker]:
    """Return what all sessions of the process share; an instrument must be made only once."""
    meter = metrics.get_meter(names.SCOPE)
    instruments = Instruments(meter, shares_page=shares_page())
    return trace.get_tracer(names.SCOPE), instruments, TelemetryWorker()


def telemetry_tap() -> TelemetryTap:
    """Return a tap that tells the OpenTelemetry of this process."""
    return TelemetryTap(*_of_process(), is_wanted=lambda: is_configured() or shares_page())


def flush(timeout: float = 5.0) -> bool:
    """Wait until what was collected is told to OpenTelemetry.

    Args:
        timeout: Seconds after which it returns in any case.

    Returns:
        Whether all was told.
    """
    return _of_process()[2].flush(timeout)
