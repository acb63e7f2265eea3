"""Every type of ours in a public signature can be imported from a public module.

The walk begins with what the public modules export and follows each signature: constructors, public
methods, properties, attributes and fields, with the names as they are written there, so that the
name of an alias counts as well as what it stands for.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import pytest

PACKAGE = "cartesia_ink_plugins"
NOT_CONSTRUCTED = {"InkRecognizeStream"}
"""Classes that applications get from a method and never construct."""

PUBLIC = [PACKAGE, *(f"{PACKAGE}.{room}" for room in ("pipecat", "livekit", "testing"))]


@dataclass(frozen=True, slots=True)
class Use:
    """A name of ours in an annotation.

    Attributes:
        where: What the annotation is of.
        name: As it is written there.
        value: What it stands for.
    """

    where: str
    name: str
    value: Any


def exported(module: ModuleType) -> dict[str, Any]:
    """What a public module exports."""
    return {name: getattr(module, name) for name in module.__all__}


def is_ours(owner: object) -> bool:
    """Whether a class or a function is defined in this package."""
    return str(getattr(owner, "__module__", "")).partition(".")[0] == PACKAGE


def aliases() -> dict[int, str]:
    """The ids of the values of all type aliases that are defined in this package."""
    return {
        id(getattr(module, name)): name
        for module_name, module in sys.modules.items()
        if module_name.partition(".")[0] == PACKAGE
        for name, kind in inspect.get_annotations(module).items()
        if kind == "TypeAlias" and hasattr(module, name)
    }


def signatures(owner: object) -> Iterator[tuple[str, object, dict[str, Any]]]:
    """The annotations of what is public of a class or function, each with its names."""
    if isinstance(owner, FunctionType):
        for annotation in inspect.get_annotations(owner).values():
            yield owner.__qualname__, annotation, owner.__globals__
    elif isinstance(owner, type):
        for cls in filter(is_ours, owner.__mro__):
            yield from own_annotations(cls)


def own_annotations(cls: type) -> Iterator[tuple[str, object, dict[str, Any]]]:
    """The annotations of what a class itself defines."""
    names = vars(sys.modules[cls.__module__])
    for field, annotation in inspect.get_annotations(cls).items():
        if not field.startswith("_"):
            yield f"{cls.__name__}.{field}", annotation, names
    for name, member in vars(cls).items():
        if name.startswith("_") and not name.startswith("__"):
            continue
        functions = (
            (member.fget, member.fset)
            if isinstance(member, property)
            else (getattr(member, "__func__", member),)
        )
        for function in filter(inspect.isfunction, functions):
            if name == "__init__":
                for attribute, text in instance_attributes(function):
                    yield f"{cls.__name__}.{attribute}", text, names
            if name != "__init__" or cls.__name__ not in NOT_CONSTRUCTED:
                yield from signatures(function)


def instance_attributes(function: FunctionType) -> Iterator[tuple[str, str]]:
    """The public attributes that a constructor sets with an annotation."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # made by a dataclass
        return
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                if not name.startswith("_"):
                    yield name, ast.unparse(node.annotation)


def uses(owner: object, known: dict[int, str]) -> Iterator[Use]:
    """The names of ours in the public signatures of a class or function."""
    for where, annotation, names in signatures(owner):
        if not isinstance(annotation, str):
            yield from of_value(where, annotation, known)
            continue
        tree = ast.parse(annotation, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                continue
            if isinstance(node, ast.Name) and node.id in names:
                yield from of_value(where, names[node.id], known)


def of_value(where: str, value: object, known: dict[int, str]) -> Iterator[Use]:
    """What of ours an annotation's value is, or is made of."""
    if isinstance(value, TypeVar):
        return
    if isinstance(value, type) and not typing.get_args(value):
        if is_ours(value):
            yield Use(where, value.__name__, value)
        return
    if id(value) in known:
        yield Use(where, known[id(value)], value)
    for part in typing.get_args(value):
        yield from of_value(where, part, known)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_type_in_a_public_signature_is_exported(name: str) -> None:
    module, core = importlib.import_module(name), importlib.import_module(PACKAGE)
    public = exported(core) | exported(module)
    known = aliases()
    missing = {
        use.name: use.where
        for owner in exported(module).values()
        for use in uses(owner, known)
        if public.get(use.name) is not use.value
    }
    assert not missing
