"""Every name that telemetry tells: those of OpenTelemetry's conventions, and our own.

The conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "cartesia_ink_plugins"
OPERATION: Final = "speech_to_text"
PROVIDER: Final = "cartesia"

# --- attributes of the conventions ----------------------------------------------------------------

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_ID: Final = "gen_ai.response.id"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# --- attributes of a turn's span; durations in seconds --------------------------------------------

SESSION_ID: Final = "cartesia.ink.session.id"
TURN_INDEX: Final = "cartesia.ink.turn.index"
END_LATENCY: Final = "cartesia.ink.turn.end_latency"
EAGER_LEAD: Final = "cartesia.ink.turn.eager_lead"
PREDICTIONS: Final = "cartesia.ink.turn.predictions"
RESUMES: Final = "cartesia.ink.turn.resumes"
TRANSCRIPT: Final = "cartesia.ink.turn.transcript"
SPECULATION: Final = "cartesia.ink.speculation"
SECONDS_SENT: Final = "cartesia.ink.audio.sent"
SECONDS_REPLAYED: Final = "cartesia.ink.audio.replayed"
SECONDS_LOST: Final = "cartesia.ink.audio.lost"
SECONDS_SILENT: Final = "cartesia.ink.audio.silent"
SETTINGS: Final = "cartesia.ink.settings."
"""Prefix of the thresholds in force, such as `cartesia.ink.settings.turn_end_threshold`."""

# --- events of a turn's span, and their attributes ------------------------------------------------

CONNECTION_LOST: Final = "connection.lost"
CONNECTION_OPENED: Final = "connection.opened"
AUDIO_REPLAYED: Final = "audio.replayed"
CAUSE: Final = "cartesia.ink.cause"
SECONDS: Final = "cartesia.ink.seconds"

# --- metrics, and their attributes ----------------------------------------------------------------

DURATION_METRIC: Final = "gen_ai.client.operation.duration"
END_LATENCY_METRIC: Final = "cartesia.ink.turn.end_latency"
EAGER_LEAD_METRIC: Final = "cartesia.ink.turn.eager_lead"
SPECULATIONS_METRIC: Final = "cartesia.ink.speculations"
WASTED_TOKENS_METRIC: Final = "cartesia.ink.speculation.wasted_tokens"
CONNECTION_METRIC: Final = "cartesia.ink.connection.events"
AUDIO_METRIC: Final = "cartesia.ink.audio.seconds"
PENDING_METRIC: Final = "cartesia.ink.audio.pending"
OUTCOME: Final = "outcome"
KIND: Final = "kind"
EVENT: Final = "event"
EVENT_CAUSE: Final = "cause"
