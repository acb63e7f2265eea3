"""What a class of a framework offers to an application, compared with what ours offers instead.

An offer is anything that an application can name: a keyword of the constructor and its default, a
setting, a method and its arguments, a property and its value, an event handler, a base class. The
offers are read from the installed framework, so that a version which brings a new one fails here
until ours has it, or `docs/drop-in.md` names it with the reason.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import FunctionType
from typing import Any

from tests.needs import ROOT

PAGE = ROOT / "docs" / "drop-in.md"


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """One thing that an application can name.

    Attributes:
        kind: What it is, as in the tables of the page.
        name: Its name; an argument is `method(argument)`.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        """Write it as a row of the page begins."""
        return f"{self.kind} `{self.name}`"


# What is offered, with the value that it has by default; None where there is nothing to compare.
Offers = dict[Offer, object]


def named_differences(section: str) -> set[Offer]:
    """The differences that a section of the page names: rows of kind, names and reason."""
    text = PAGE.read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    assert all(len(row) == 3 and len(row[2]) > 10 for row in rows[1:]), "a row lacks its reason"
    return {
        Offer(kind, name) for kind, names, _ in rows[1:] for name in re.findall("`([^`]+)`", names)
    }


def keywords(kind: type, *packages: str) -> Iterator[inspect.Parameter]:
    """What the constructors of a class and of its bases in these packages can be given."""
    seen = set()
    for base in kind.__mro__:
        if "__init__" in vars(base) and base.__module__.startswith(packages):
            for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items():
                named = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
                if named and name != "self" and name not in seen:
                    seen.add(name)
                    yield parameter


def constructor(kind: type, *packages: str) -> Offers:
    """The keywords of a constructor, with their defaults."""
    found: Offers = {}
    for parameter in keywords(kind, *packages):
        found[Offer("keyword", parameter.name)] = None
        found[Offer("default", parameter.name)] = comparable(parameter.default)
    return found


def members(kind: type, instance: object, shared: type) -> Offers:
    """Public methods, their arguments, and properties with their values, without what is shared.

    Args:
        kind: The class.
        instance: An object of it, made with defaults.
        shared: The base class that the framework's class and ours have in common.
    """
    found: Offers = {}
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        if name.startswith("_") or member is inspect.getattr_static(shared, name, MISSING):
            continue
        if isinstance(member, property):
            found[Offer("property", name)] = None
            found[Offer("value", name)] = comparable(getattr(instance, name))
        elif isinstance(member, FunctionType | classmethod | staticmethod):
            found[Offer("method", name)] = None
            parameters = inspect.signature(getattr(kind, name)).parameters.values()
            for place, parameter in enumerate(parameters):
                if parameter.name != "self":
                    argument = f"{name}({parameter.name})"
                    by_place = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                    found[Offer("argument", argument)] = place if by_place else None
                    found[Offer("default", argument)] = comparable(parameter.default)
        else:
            found[Offer("attribute", name)] = None
    return found


def settings(store: Any) -> Offers:
    """The settings of a service, with the values that they have by default."""
    assert is_dataclass(store)
    found: Offers = {}
    for field in fields(store):
        found[Offer("setting", field.name)] = None
        found[Offer("default", f"settings.{field.name}")] = comparable(getattr(store, field.name))
    return found


def bases(kind: type, package: str) -> Offers:
    """The classes of a framework that an object can be asked for with `isinstance`."""
    return {
        Offer("base class", base.__name__): None
        for base in kind.__mro__[1:]
        if base.__module__.startswith(package)
    }


def of_kind(kind: str, names: Iterable[str]) -> Offers:
    """Offers that are only names."""
    return {Offer(kind, name): None for name in names}


def comparable(value: object) -> object:
    """A value as it is compared: what is not given, in whatever way, is the same."""
    if value is None or value is inspect.Parameter.empty or "NotGiven" in type(value).__name__:
        return None
    return str(value)


def differences(theirs: Offers, ours: Offers) -> set[Offer]:
    """What ours has not, or has with another value or in another place."""
    found = set()
    for offer, value in theirs.items():
        match offer.kind:
            case "default" | "value":
                # Where there is no such name, the name itself is the difference.
                is_same = ours.get(offer, value) == value
            case "argument" if value is None:
                is_same = offer in ours  # an argument by keyword, wherever it stands
            case _:
                is_same = offer in ours and ours[offer] == value
        if not is_same:
            found.add(offer)
    return found


def assert_every_difference_is_named(
    section: str, theirs: Offers, ours: Offers, without_meaning: Iterable[str] = ()
) -> None:
    """Compare two classes with the page.

    Args:
        section: The section of the page.
        theirs: What the framework's class offers.
        ours: What ours offers.
        without_meaning: Keywords that ours accepts and, as the log says, ignores.
    """
    ignored = {offer for offer in of_kind("keyword", without_meaning) if offer in theirs}
    found = differences(theirs, ours) | ignored
    # The default of what is ignored does not matter.
    found -= {Offer("default", offer.name) for offer in ignored}
    named = named_differences(section)
    assert not found - named, f"not in {PAGE.name}, {section}: {sorted(map(str, found - named))}"
    # Names that only other versions have are fine.
    stale = {offer for offer in named - found if offer in theirs}
    assert not stale, f"no difference any more: {sorted(map(str, stale))}"
