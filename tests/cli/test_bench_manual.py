"""`cartesia-ink bench manual` measures both sides with the same words."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.cli import bench_manual
from cartesia_ink_plugins.cli.main import main


async def test_both_sides_hear_the_sentence() -> None:
    bare, ours = await bench_manual._finalize(2)
    assert len(bare) == len(ours) == 2
    assert min(*bare, *ours) > 0


def test_no_rounds_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "manual", "--rounds", "0"]) == 2
    assert "--rounds" in capsys.readouterr().err
