"""Parses and checks requests: the query of an upgrade, and `config`.

Parameters: https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.core.events import ErrorMessage
from cartesia_ink_plugins.server.engine import TurnThresholdChanges, TurnThresholds
from cartesia_ink_plugins.server.rules import Rules

Query: TypeAlias = Iterable[tuple[str, str]]

CURRENT_VERSION = "2026-03-01"
_THRESHOLDS = ("start", "eager_end", "end")
_PARAMETERS = {
    "turn_start_threshold": "start",
    "turn_eager_end_threshold": "eager_end",
    "turn_end_threshold": "end",
    "turn_end_timeout_ms": "timeout_ms",
}
_MEMBERS = {
    "start_threshold": "start",
    "eager_end_threshold": "eager_end",
    "end_threshold": "end",
    "end_timeout_ms": "timeout_ms",
}


class RequestRejectedError(InkError):
    """The request is invalid; `answer` is the error message to send."""

    def __init__(
        self, title: str, message: str, status: int = 400, code: str | None = None
    ) -> None:
        """Create the rejection with the fields of the API's error messages."""
        super().__init__(message)
        self.answer = ErrorMessage(status, message, title, code)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsRequest:
    """The valid and complete request of a connection to `/stt/turns/websocket`.

    Attributes:
        model: The model.
        format: Format of the audio.
        thresholds: The thresholds, with defaults for those not given.
        keyterms: Words to expect.
    """

    model: str
    format: AudioFormat
    thresholds: TurnThresholds
    keyterms: tuple[str, ...] = ()


class Command(Enum):
    """A text message without content."""

    CLOSE = "close"
    FINALIZE = "finalize"


def parse_query(query: Query, rules: Rules) -> TurnsRequest:
    """Parse the query of an upgrade request; unknown parameters are ignored.

    Raises:
        RequestRejectedError: A parameter is missing or invalid.
    """
    pairs = list(query)
    given = dict(pairs)
    changes = {
        name: given[parameter] for parameter, name in _PARAMETERS.items() if parameter in given
    }
    keyterms = tuple(value for name, value in pairs if name == "keyterm")
    check_keyterms(keyterms, rules)
    return TurnsRequest(
        model=check_model(given, rules.models),
        format=parse_format(given),
        thresholds=_thresholds(changes, TurnThresholds(), rules),
        keyterms=keyterms,
    )


def parse_text(text: str, current: TurnThresholds, rules: Rules) -> Command | TurnThresholds:
    """Parse a text message: `close`, or `config` applied to the current thresholds.

    Raises:
        RequestRejectedError: It is neither, or `config` is invalid.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestRejectedError("Invalid message", "The message is not valid JSON.") from None
    match data:
        case {"type": "close"}:
            return Command.CLOSE
        case {"type": "config", "turn": dict(turn)}:
            return _config(turn, current, rules)
        case {"type": "config"}:
            raise RequestRejectedError("Invalid config", "turn is required and must be an object.")
        case _:
            raise RequestRejectedError("Invalid message", "The type of the message is not known.")


def _config(turn: Mapping[str, Any], current: TurnThresholds, rules: Rules) -> TurnThresholds:
    for member, value in turn.items():
        if member not in _MEMBERS:
            raise RequestRejectedError("Invalid config", f"turn.{member} is not known.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RequestRejectedError("Invalid config", f"turn.{member} must be a number.")
    changes = {_MEMBERS[member]: value for member, value in turn.items()}
    return _thresholds(changes, current, rules)


def check_model(given: Mapping[str, str], models: Collection[str]) -> str:
    """Parse the model.

    Raises:
        RequestRejectedError: It is missing, or not one of `models`.
    """
    model = given.get("model", "")
    if not model:
        raise RequestRejectedError("Missing model", "model is required.")
    if model not in models:
        raise RequestRejectedError(
            "Invalid model",
            "The model is not valid, make sure it is a valid model ID.",
            code="model_not_found",
        )
    return model


def parse_format(given: Mapping[str, str]) -> AudioFormat:
    """Parse encoding and sample rate.

    Raises:
        RequestRejectedError: One is missing or invalid.
    """
    return AudioFormat(_encoding(given), _sample_rate(given))


def _encoding(given: Mapping[str, str]) -> Encoding:
    name = given.get("encoding")
    if name is None:
        raise RequestRejectedError("Missing encoding", "encoding is required.")
    try:
        return Encoding(name)
    except ValueError:
        known = ", ".join(Encoding)
        raise RequestRejectedError(
            "Invalid encoding", f"encoding must be one of {known}."
        ) from None


def _sample_rate(given: Mapping[str, str]) -> int:
    text = given.get("sample_rate")
    if text is None:
        raise RequestRejectedError("Missing sample rate", "sample_rate is required.")
    if not (re.fullmatch("[0-9]{1,6}", text) and 1_000 <= int(text) <= 384_000):
        raise RequestRejectedError(
            "Invalid sample rate", "sample_rate must be a number of Hz, such as 16000."
        )
    return int(text)


def check_keyterms(keyterms: tuple[str, ...], rules: Rules) -> None:
    """Check the number and the total length of the keyterms.

    Raises:
        RequestRejectedError: There are too many.
    """
    characters = sum(map(len, keyterms))
    if len(keyterms) > rules.max_keyterms or characters > rules.max_keyterm_characters:
        raise RequestRejectedError(
            "Too many keyterms",
            f"At most {rules.max_keyterms} keyterms of {rules.max_keyterm_characters} characters "
            f"in total; there are {len(keyterms)} of {characters}.",
        )


def _thresholds(
    changes: Mapping[str, str | float], current: TurnThresholds, rules: Rules
) -> TurnThresholds:
    """Apply changes to the current thresholds; check the ranges and the order."""
    new: TurnThresholdChanges = {}
    for name, given in changes.items():
        try:
            value = float(given)
        except (ValueError, OverflowError):
            raise RequestRejectedError(
                "Invalid turn settings", f"{_public(name)} must be a number."
            ) from None
        low, high = getattr(rules.ranges, name)
        if not low <= value <= high:
            raise RequestRejectedError(
                "Invalid turn settings", f"{_public(name)} must be between {low:g} and {high:g}."
            )
        match name:
            case "start":
                new["start"] = value
            case "eager_end":
                new["eager_end"] = value
            case "end":
                new["end"] = value
            case _:
                new["timeout_ms"] = round(value)
    result = current.updated(new)
    if not result.start > result.eager_end > result.end:
        raise RequestRejectedError(
            "Invalid turn settings",
            "turn_start_threshold must be greater than turn_eager_end_threshold, and that greater "
            f"than turn_end_threshold; they are {result.start:g}, {result.eager_end:g} and "
            f"{result.end:g}.",
        )
    return result


def _public(name: str) -> str:
    return next(parameter for parameter, known in _PARAMETERS.items() if known == name)
