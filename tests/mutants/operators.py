"""Mutations of a module: each makes one small change that a test ought to notice."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

# An order is turned round, not moved by one: of two times or positions, it makes no difference
# whether they may be equal.
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
# What is written to the log is no behaviour that callers rely on.
_UNTESTED = ("log", "_log", "logger")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module.

    Attributes:
        path: The module, relative to the repository.
        function: Qualified name of the function that is changed.
        line: Where, from 1.
        change: The code before and after it, on one line; numbered, if a function has it twice.
        source: The whole changed module.
    """

    path: str
    function: str
    line: int
    change: str
    source: str

    @property
    def name(self) -> str:
        """A name that does not change with the lines above it."""
        return f"{self.path} {self.function}: {self.change}"


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Return all mutants of a module, in the order of its lines.

    Args:
        path: The module, relative to the repository.
        source: Its text; only code inside of functions is changed.
    """
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    content = b"".join(lines)
    seen = Counter[tuple[str, str]]()
    for function, node, replacement in _changes(ast.parse(source), ""):
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = " ".join(content[start:end].decode().split())
        changed = content[:start] + replacement.encode() + content[end:]
        change = f"{before} -> {replacement}"
        seen[function, change] += 1
        if (count := seen[function, change]) > 1:
            change += f" ({count})"
        yield Mutant(path, function, node.lineno, change, changed.decode())


Change = tuple[str, "ast.stmt | ast.expr", str]


def _changes(node: ast.AST, function: str) -> Iterator[Change]:
    """Return the changes below a node: where, what, and the code instead."""
    for child in ast.iter_child_nodes(node):
        name = function
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if child.name == "__repr__":
                    continue
                name = f"{function}.{child.name}".lstrip(".")
                for statement in child.body:
                    yield from _changes_of(statement, name)
                continue
            case ast.ClassDef():
                name = f"{function}.{child.name}".lstrip(".")
        yield from _changes(child, name)


def _changes_of(node: ast.AST, function: str) -> Iterator[Change]:
    """Return the changes of a node inside of a function, and of all below it."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            for statement in node.body:
                yield from _changes_of(statement, f"{function}.{node.name}")
            return
        case ast.Raise() | ast.Assert() | ast.JoinedStr():
            return  # texts of errors, and what cannot happen
        case ast.AnnAssign():
            if node.value is not None:
                yield from _changes_of(node.value, function)
            return
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr(value=ast.Call(func=called)) if _is_untested(called):
            return
    is_setup = function.endswith("__init__") and isinstance(node, ast.Assign)
    if isinstance(node, ast.stmt | ast.expr) and not is_setup:  # without it, nothing would run
        yield from ((function, node, code) for code in _replacements(node))
    for child in ast.iter_child_nodes(node):
        yield from _changes_of(child, function)


def _is_untested(called: ast.expr) -> bool:
    """Whether a call writes to the log."""
    if not isinstance(called, ast.Attribute):
        return False
    owner = called.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name in _UNTESTED


def _replacements(node: ast.stmt | ast.expr) -> Iterator[str]:
    """Return what the code of a node can be changed into."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            yield ast.unparse(ast.Compare(left, [_COMPARISONS[type(op)]()], [right]))
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield f"({ast.unparse(ast.BoolOp(other, values))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=op, right=right) if _is_arithmetic(left, op, right):
            yield f"({ast.unparse(ast.BinOp(left, _ARITHMETIC[type(op)](), right))})"
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield str(value + 1)
        case ast.Constant(value=float(value)):
            yield str(value * 2 + 1)
        case ast.Call(func=ast.Name(id=name), args=args) if name in _CALLS and args:
            changed = ast.Call(ast.Name(_CALLS[name]), args, node.keywords)
            yield ast.unparse(changed)
        case ast.Expr(value=ast.Call(func=called)):
            if "super()" not in ast.unparse(called):
                yield "pass"
        case ast.AugAssign(op=op) if type(op) in _ARITHMETIC:
            changed_op = _ARITHMETIC[type(op)]()
            yield ast.unparse(ast.AugAssign(node.target, changed_op, node.value))
        case ast.Assign(targets=[ast.Attribute()]):
            yield "pass"
        case ast.Return(value=None) | ast.Continue() | ast.Break():
            yield "pass"


def _is_arithmetic(left: ast.expr, op: ast.operator, right: ast.expr) -> bool:
    """Whether it computes a number, as far as one can see."""
    texts = (ast.JoinedStr, ast.Tuple, ast.List)
    is_text = any(
        isinstance(side, texts) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (left, right)
    )
    return type(op) in _ARITHMETIC and not is_text
