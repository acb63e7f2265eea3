"""The table of docs/benchmarks.md on lost connections is the one that the benchmark prints."""

from __future__ import annotations

import re

import pytest

from tests.needs import ROOT
from tests.outages import bench
from tests.outages.scenarios import REFUSALS
from tests.outages.table import HEAD, ROWS, SUITE, Measure, Row
from tests.outages.test_outages import IN_SUITE

PAGE = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
SECTION = PAGE.split("\n## When the connection fails\n")[1].split("\n## ")[0]
TABLE = [line for line in SECTION.splitlines() if line.startswith("|")]


def test_the_page_has_every_row_and_no_other() -> None:
    head, _, *lines = TABLE
    assert head == f"| {' | '.join(HEAD)} |"
    assert [line.split(" | ")[0] for line in lines] == [
        f"| [{row.title}](../{row.test})" for row in ROWS
    ]


def test_every_cell_is_measured() -> None:
    for line in TABLE[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == len(HEAD)
        assert all(re.search(r"\d|cannot be run", cell) for cell in cells[1:]), line


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_row_is_held_by_its_test(row: Row) -> None:
    text = (ROOT / row.test).read_text("utf-8")
    match row.measure:
        case Measure.CROWD:
            assert "call(busy(" in text
        case Measure.SOAK:
            assert "soak(HOURS)" in text
        case Measure.MEMORY:
            assert "def test_a_flood_of_messages_leaves_nothing_behind" in text
        case Measure.REFUSAL:
            assert row.scenario in REFUSALS
        case _ if row.scenario in IN_SUITE:
            assert row.test == SUITE
        case _:
            seconds = re.search(r"away for (\d+) s", row.title)
            assert seconds is not None
            assert f"({seconds[1]}.0, " in text


def test_one_command_prints_it() -> None:
    assert f"python -m {bench.__name__}" in SECTION
