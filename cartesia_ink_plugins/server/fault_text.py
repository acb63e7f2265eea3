"""Faults as one line of text, for the command line.

reset@turn.update:2               after the second update
close=1011@audio:3.5              after 3.5 s of audio
refuse=503,2@connect*3            three times, with `Retry-After: 2`
silence=6@turn.start+0.2~0.5      0.2 to 0.7 s after the start of a turn, for 6 s
fin<turn.end                      just before the end of a turn is sent
latency=0.1,0.05@connect*always   on every connection
reset@seconds:1#0                 only on the first connection
"""

from __future__ import annotations

import re
from dataclasses import Field, fields
from typing import Any, get_args

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    MEASURES,
    NAMED_MESSAGES,
    Action,
    At,
    Fault,
    Say,
)

_ACTIONS: dict[str, type[Any]] = {
    re.sub("(?<=[a-z])(?=[A-Z])", "-", action.__name__).lower(): action
    for action in get_args(Action)
}
"""Every action by its name in kebab case, such as `half-open`."""
_NAMES = {action: name for name, action in _ACTIONS.items()}

_SYNTAX = re.compile(
    r"(?P<name>[a-z-]+)(?:=(?P<arguments>[^@<]+))?"
    r"(?:(?P<sign>[@<])(?P<point>[a-z_.]+)(?::(?P<amount>[\d.]+))?"
    r"(?:\+(?P<delay>[\d.]+))?(?:~(?P<spread>[\d.]+))?)?"
    r"(?:\*(?P<times>\d+|always))?(?:#(?P<connection>\d+))?"
)


def format_fault(fault: Fault) -> str:
    """Format a fault as `parse_fault` parses it."""
    at = fault.at
    amount = f":{at.amount:g}" if at.amount != 1 or at.point in MEASURES else ""
    delay = f"+{at.delay:g}" if at.delay else ""
    spread = f"~{at.spread:g}" if at.spread else ""
    times = "" if fault.times == 1 else f"*{'always' if fault.times is None else fault.times}"
    where = "" if fault.connection is None else f"#{fault.connection}"
    sign = "<" if at.before else "@"
    return f"{_action_text(fault.action)}{sign}{at.point}{amount}{delay}{spread}{times}{where}"


def parse_fault(text: str) -> Fault:
    """Parse a fault; see the examples above.

    Raises:
        UsageError: It is invalid; the message says what is valid.
    """
    match = _SYNTAX.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"fault: {text!r} is not like 'reset@turn.update:2' or 'close=1011@audio:3'"
        )
    part = match.groupdict()
    action = _action(part["name"], part["arguments"])
    try:
        at = At(
            part["point"] or "connect",
            float(part["amount"] or 1),
            float(part["delay"] or 0),
            float(part["spread"] or 0),
            before=part["sign"] == "<",
        )
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"fault: {text!r} has an invalid number") from None
    times = None if part["times"] == "always" else int(part["times"] or 1)
    connection = int(part["connection"]) if part["connection"] else None
    return Fault(action, at, times, connection)


def as_fault(given: Fault | str) -> Fault:
    """Return a fault; text is parsed.

    Raises:
        UsageError: The text is invalid.
    """
    return parse_fault(given) if isinstance(given, str) else given


def _action(name: str, arguments: str | None) -> Action:
    """Create an action from its name and arguments.

    Raises:
        UsageError: The name is unknown, or the arguments are invalid.
    """
    if name not in _ACTIONS:
        raise UsageError(f"fault: {name!r} is not one of {', '.join(_ACTIONS)}")
    given = arguments.split(",") if arguments else []
    if name == "say":
        if len(given) != 1 or given[0] not in NAMED_MESSAGES:
            raise UsageError(f"fault: say one of {', '.join(NAMED_MESSAGES)}")
        return Say(given[0])
    members = fields(_ACTIONS[name])
    try:
        read = [_argument(*pair) for pair in zip(members[: len(given)], given, strict=True)]
        action: Action = _ACTIONS[name](*read)
    except (TypeError, ValueError):
        names = ", ".join(member.name for member in members) or "nothing"
        raise UsageError(f"fault: {name} takes {names}; not {arguments!r}") from None
    return action


def _argument(member: Field[Any], text: str) -> float | bool | str:
    """Convert an argument to the type of the member.

    Raises:
        ValueError: It is not of that type.
    """
    match member.type:
        case "str":
            return text
        case "int":
            return int(text)
        case "bool":
            return ("no", "yes").index(text) == 1
        case _ if text == "ever":
            return FOREVER
        case _:
            return float(text)


def _action_text(action: Action) -> str:
    name = _NAMES[type(action)]
    if isinstance(action, Say):
        return f"{name}={action.what or 'something'}"
    values = [getattr(action, field.name) for field in fields(action)]
    defaults = [field.default for field in fields(action)]
    while values and values[-1] == defaults[-1]:
        values.pop()
        defaults.pop()
    return f"{name}={','.join(map(_value_text, values))}" if values else name


def _value_text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return "ever" if value == FOREVER else f"{value:g}"
        case _:
            return str(value)
