"""`benchmarks.telemetry` compares the sides round by round, and its scripts run."""

from __future__ import annotations

import pytest

from benchmarks import telemetry
from benchmarks.sides import Side


def test_a_table_compares_each_round_with_itself() -> None:
    table = telemetry.report(20, {"off": [2.0, 4.0, 1.0], "on": [3.0, 4.0, 1.0]})
    assert "on                3.00  1.000 × (1.000 to 1.500), +0.000 % of a core" in table


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("side", ["off", "on"])
def test_every_side_can_be_measured(side: str) -> None:
    results = telemetry.compare(2, 7.0, 1, [Side(side, side)])
    assert results[side][0] > 0
