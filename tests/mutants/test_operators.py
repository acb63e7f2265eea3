"""What is changed, what is left alone, and that each change is one."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter

import pytest

from tests.mutants.__main__ import (
    ROOMS,
    all_mutants,
    interval,
    known_survivors,
    named_mutants,
    sampled,
)
from tests.mutants.operators import mutants
from tests.mutants.player import OPTIONS, ROOT, changed_code


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


def test_changes_that_a_function_has_twice_have_names_of_their_own() -> None:
    assert changes("return a + b, a + b") == ["a + b -> (a - b)", "a + b -> (a - b) (2)"]


def test_the_core_has_mutants_in_every_room_and_each_is_a_function() -> None:
    found = all_mutants([])
    assert {mutant.path.split("/")[2] for mutant in found} == set(ROOMS)
    for mutant in found[::40]:
        _, code = changed_code(mutant)
        assert f"{mutant.function}.".startswith(f"{code.co_qualname}."), mutant.name


def test_each_named_mutant_is_one_change_of_a_function() -> None:
    assert len(named_mutants([])) >= 10
    for mutant in named_mutants([]):
        before = (ROOT / mutant.path).read_text()
        assert mutant.source != before
        ast.parse(mutant.source)
        changed_code(mutant)


def test_each_known_survivor_is_a_mutant_of_today_and_has_a_reason() -> None:
    known = known_survivors()
    assert known.keys() <= {mutant.name for mutant in all_mutants([])}
    assert all(known.values())


def test_the_tests_that_are_run_exist() -> None:
    paths = [option for option in OPTIONS if option.startswith("tests/")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)


def test_each_beginning_of_a_sample_has_its_share_of_each_module() -> None:
    found = all_mutants([])
    order = sampled(found, 1)
    assert Counter(mutant.name for mutant in order) == Counter(mutant.name for mutant in found)
    sizes = Counter(mutant.path for mutant in found)
    for size in (100, 300, 1000):
        shares = Counter(mutant.path for mutant in order[:size])
        for path, count in sizes.items():
            assert abs(shares[path] - size * count / len(found)) < 2.0


def test_the_seed_chooses_the_sample() -> None:
    found = all_mutants(["turns/"])
    assert sampled(found, 1) == sampled(found, 1)
    assert sampled(found, 1) != sampled(found, 2)


@pytest.mark.parametrize(
    ("noticed", "played", "low", "high"),
    [(9, 10, 0.596, 0.982), (276, 300, 0.884, 0.946), (300, 300, 0.987, 1.0)],
)
def test_the_interval_of_a_share(noticed: int, played: int, low: float, high: float) -> None:
    assert interval(noticed, played) == pytest.approx((low, high), abs=0.001)
