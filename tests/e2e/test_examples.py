"""Nothing in `examples/` is there to be believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.bots import EXAMPLES

TESTS = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_example_is_started_by_a_test(example: str) -> None:
    assert f'"{example}"' in TESTS


def test_the_foundational_example_is_one_short_file() -> None:
    """What Pipecat asks of a community integration; longer ones are not read."""
    lines = (EXAMPLES / "pipecat_foundational.py").read_text("utf-8").splitlines()
    assert len(lines) <= 80
