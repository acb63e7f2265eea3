"""What a bot's file makes and with which arguments: read, never run.

Only what stands in the file itself is known: a name that is assigned once, a function with one
`return`. Everything else is `Unknown`, and is said to be.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from cartesia_ink_plugins.core.errors import UsageError

_DEPTH = 5  # names that lead to names


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not known before the bot runs.

    Attributes:
        text: How it is written.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Something that is made or called.

    Attributes:
        name: Its whole name, as it is imported: `pipecat.pipeline.pipeline.Pipeline`.
        keywords: The keyword arguments.
        line: Where it is.
    """

    name: str
    keywords: dict[str, ast.expr]
    line: int

    @property
    def short(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]


Value: TypeAlias = Any
"""A constant, a `Call`, an `Unknown`, or a list or dict of these."""


class Source:
    """A file of Python.

    Attributes:
        path: Where it is.
        calls: Everything that is made or called in it.
    """

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            UsageError: It cannot be read, or is not Python.
        """
        self.path = path
        try:
            self._tree = ast.parse(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        except (SyntaxError, ValueError) as error:
            line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
            raise UsageError(f"{path}: is not Python{line}") from None
        self._imports = dict(self._imported())
        self._assigned = self._values()
        self.calls = [
            self._call(node) for node in ast.walk(self._tree) if isinstance(node, ast.Call)
        ]

    def named(self, short: str, package: str = "") -> list[Call]:
        """The calls of a name, imported from a package or from one within it."""
        return [
            call for call in self.calls if call.short == short and call.name.startswith(package)
        ]

    def imports(self, package: str) -> bool:
        """Whether something of a package is imported."""
        return any(f"{name}.".startswith(f"{package}.") for name in self._imports.values())

    def value(self, node: ast.expr | None, depth: int = _DEPTH) -> Value:
        """What an expression is; None where there is none."""
        match node:
            case None:
                return None
            case ast.Constant(value=constant):
                return constant
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.value(item, depth) for item in items]
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {self.value(key, depth): self.value(item, depth) for key, item in pairs}
            case ast.Name(id=name) if depth and name in self._assigned:
                return self.value(self._assigned[name], depth - 1)
            case ast.Call(func=ast.Name(id=name)) if depth and f"{name}()" in self._assigned:
                return self.value(self._assigned[f"{name}()"], depth - 1)
            case ast.Call():
                return self._call(node)
            case _:
                return Unknown(ast.unparse(node))

    def keyword(self, call: Call, name: str) -> Value:
        """The value of a keyword argument; None if it is not given."""
        return self.value(call.keywords.get(name))

    def _call(self, node: ast.Call) -> Call:
        keywords = {one.arg: one.value for one in node.keywords if one.arg is not None}
        return Call(self._whole_name(node.func), keywords, node.lineno)

    def _whole_name(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return self._imports.get(name, name)
            case ast.Attribute(value=value, attr=attribute):
                return f"{self._whole_name(value)}.{attribute}"
            case ast.Subscript(value=value):
                return self._whole_name(value)
            case _:
                return ast.unparse(node)

    def _imported(self) -> Iterator[tuple[str, str]]:
        for node in ast.walk(self._tree):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        first = alias.name.partition(".")[0]
                        yield alias.asname or first, alias.name if alias.asname else first
                case ast.ImportFrom(module=str(module), names=names):
                    for alias in names:
                        yield alias.asname or alias.name, f"{module}.{alias.name}"
                case _:
                    pass

    def _values(self) -> dict[str, ast.expr]:
        """What names are, and what functions return, where there is only one answer."""
        found: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self._tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found.setdefault(name, []).append(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    found.setdefault(name, []).append(value)
                case ast.FunctionDef(name=name):
                    returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
                    found.setdefault(f"{name}()", []).extend(filter(None, returned))
                case _:
                    pass
        return {name: values[0] for name, values in found.items() if len(values) == 1}


def written(value: Value) -> str:
    """A value as one would write it."""
    match value:
        case Call(short=short, keywords=keywords):
            given = [f"{name}={ast.unparse(one)}" for name, one in keywords.items()]
            return f"{short}({', '.join(given)})"
        case Unknown(text=text):
            return text
        case list():
            return f"[{', '.join(map(written, value))}]"
        case _:
            return repr(value)
