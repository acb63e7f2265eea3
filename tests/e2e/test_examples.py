"""Nothing in `examples/` is there to be believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.bots import EXAMPLES

TESTS = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_example_is_started_by_a_test(example: str) -> None:
    assert f'"{example}"' in TESTS
