"""What is changed, what is left alone, and that each change is one."""

from __future__ import annotations

import ast
import textwrap

import pytest

from tests.mutants.__main__ import CORE, ROOT, TESTS, all_mutants, suite_of
from tests.mutants.operators import mutants


def changes(body: str) -> list[str]:
    source = f"def f(a, b, log):\n{textwrap.indent(body, '    ')}\n"
    return [mutant.change for mutant in mutants("m.py", source)]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("return a < b", "a < b -> a >= b"),
        ("return a is b", "a is b -> a is not b"),
        ("return a in b", "a in b -> a not in b"),
        ("return a and b", "a and b -> (a or b)"),
        ("return not a", "not a -> (a)"),
        ("return a + b", "a + b -> (a - b)"),
        ("return a // b", "a // b -> (a * b)"),
        ("return True", "True -> False"),
        ("return 1.5", "1.5 -> 4.0"),
        ("return min(a, b)", "min(a, b) -> max(a, b)"),
        ("a.close()", "a.close() -> pass"),
        ("a += b", "a += b -> a -= b"),
        ("a.b = b", "a.b = b -> pass"),
        ("return", "return -> pass"),
    ],
)
def test_code_is_changed(code: str, change: str) -> None:
    assert change in changes(code)


@pytest.mark.parametrize(
    "code",
    [
        '"""A docstring."""',
        'raise ValueError("too small")',
        "assert a",
        'log.info("opened")',
        "super().close()",
        "return f'{a + b}'",
        "return 'a' + b",
    ],
)
def test_what_no_test_has_to_notice_is_left(code: str) -> None:
    assert changes(code) == []


def test_a_mutant_is_the_module_with_one_change() -> None:
    source = "def f(a: int, b: int) -> int:\n    # ä\n    return a + b\n\n\nX = 1 + 1\n"
    (mutant,) = mutants("m.py", source)
    assert mutant.source == source.replace("a + b", "(a - b)")
    assert (mutant.name, mutant.line) == ("m.py f: a + b -> (a - b)", 3)


def test_the_core_has_mutants_in_every_room_and_each_is_a_module() -> None:
    found = all_mutants([])
    assert {mutant.path.split("/")[2] for mutant in found} == set(TESTS)
    for mutant in found[::40]:
        ast.parse(mutant.source)


def test_the_tests_that_are_run_exist() -> None:
    for room in TESTS:
        for file in (ROOT / CORE / room).glob("*.py"):
            paths = suite_of(file.relative_to(ROOT).as_posix())
            assert all((ROOT / path).exists() for path in paths), paths
