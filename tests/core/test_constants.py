"""Every number that is a constant of the core says its unit, or why it has its value."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cartesia_ink_plugins.core

CORE = Path(cartesia_ink_plugins.core.__file__).parent


def is_number(node: ast.expr | None) -> bool:
    """Whether an expression is a number, or a tuple of numbers, written down."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.UnaryOp(operand=operand):
            return is_number(operand)
        case ast.BinOp(left=left, right=right):
            return is_number(left) and is_number(right)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return bool(items) and all(map(is_number, items))
        case _:
            return False


def unexplained(source: str) -> Iterator[str]:
    """The lines of constants that nothing explains: no comment on them or above, no docstring."""
    lines, body = source.splitlines(), ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not is_number(node.value):
            continue
        own = lines[node.lineno - 1 : node.end_lineno]
        has_docstring = isinstance(following, ast.Expr) and isinstance(
            following.value, ast.Constant
        )
        has_comment = any("  #" in line for line in own) or heads_block(lines, node.lineno - 2)
        if not (has_docstring or has_comment):
            yield own[0]


def heads_block(lines: list[str], number: int) -> bool:
    """Whether the block of lines up to a number begins with a comment."""
    while number >= 0 and lines[number].strip():
        if lines[number].startswith("#"):
            return True
        number -= 1
    return False


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=str(path.relative_to(CORE))) for path in CORE.rglob("*.py")]
)
def test_every_number_says_its_unit_or_its_reason(path: Path) -> None:
    assert not list(unexplained(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "is_explained"),
    [
        ("A = 5.0", False),
        ("A: float = -5.0", False),
        ("A = 2**16", False),
        ("A, B = 1, 2", False),
        ("A = (1.0, 2.0)", False),
        ("# Seconds.\n\nA = 5.0", False),
        ('B = "text"\nA = 5.0', False),
        ("A = 5.0  # seconds", True),
        ("# Seconds.\nA = 5.0", True),
        ("# Seconds.\nB = 1\nA = 5.0", True),
        ('A = 5.0\n"""Seconds."""', True),
        ("A = True", True),
        ('A = "text"', True),
        ("def f():\n    a = 1", True),
    ],
)
def test_a_number_without_comment_is_found(source: str, *, is_explained: bool) -> None:
    assert (not list(unexplained(source))) is is_explained
