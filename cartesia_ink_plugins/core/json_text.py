"""JSON of others: an object or None, never an error, in bounded memory and time."""

from __future__ import annotations

import json
from typing import Any

from cartesia_ink_plugins.core.text import join_surrogates

_MAX_DEPTH = 32  # levels; the API has 3, and Python's own recursion ends at about 1000
_MAX_CONTAINERS = 500_000  # a count; one object for each word of two days of speech, 60 MB


def json_object(data: str | bytes) -> dict[str, Any] | None:
    """Read a JSON object.

    Args:
        data: Of at most some megabytes: the caller bounds its size.

    Returns:
        The object. None if the text is not JSON or is something else than an object, has more than
        32 levels, or more objects and arrays than any answer of the API.
    """
    text = data if isinstance(data, str) else data.decode("latin-1")  # of which only these count:
    containers = text.count("{") + text.count("[")
    if containers > _MAX_CONTAINERS:
        return None
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return fields if containers <= _MAX_DEPTH or _is_shallow(fields, 1) else None


def encodable(value: Any) -> Any:
    """Return a value of JSON whose strings can be encoded: half a character is replaced."""
    if isinstance(value, str):
        return join_surrogates(value)
    if isinstance(value, dict):
        return {join_surrogates(name): encodable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [encodable(item) for item in value]
    return value


def _is_shallow(value: dict[str, Any] | list[Any], depth: int) -> bool:
    """Whether a value, itself at a depth, has no more levels than are read."""
    items = value.values() if isinstance(value, dict) else value
    return depth <= _MAX_DEPTH and all(
        _is_shallow(item, depth + 1) for item in items if isinstance(item, dict | list)
    )
