"""`benchmarks.manual` measures both sides with the same words."""

from __future__ import annotations

import pytest

from benchmarks import manual


async def test_both_sides_get_the_sentence() -> None:
    bare, ours = await manual._finalize(2)
    assert len(bare) == len(ours) == 2
    assert min(*bare, *ours) > 0


def test_no_rounds_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        manual.main(["--rounds", "0"])
    assert stop.value.code == 2
    assert "--rounds" in capsys.readouterr().err
