"""The benchmarks of streams measure every side, and say how ours compares."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import livekit_streams, pipecat_streams
from benchmarks.pipecat_streams import Cost, report
from benchmarks.sides import ROOT, Side, arguments

COSTS = {
    "built-in": Cost(cpu=4, p50=1, p99=2, memory=100),
    "ours": Cost(cpu=3, p50=1, p99=1, memory=110),
}


def test_a_stream_in_pipecat_is_measured_in_a_process_of_its_own() -> None:
    (cost,) = pipecat_streams.compare(1, 1.5, 1, [Side("ours", "ours")]).values()
    assert cost.cpu > 0
    assert cost.p99 >= cost.p50 > 0
    assert cost.memory > 0


@pytest.mark.usefixtures("one_core")
def test_a_stream_in_livekit_is_measured_in_a_process_of_its_own() -> None:
    (cost,) = livekit_streams.compare(1, 1.5, 1, [Side("ours", "ours")]).values()
    assert cost.cpu > 0
    assert cost.event_p99 >= cost.event_p50 > 0
    assert cost.wait_p99 >= cost.wait_mean > 0


@pytest.mark.usefixtures("one_core")
def test_the_package_of_another_checkout_is_measured(tmp_path: Path) -> None:
    package = ROOT / "cartesia_ink_plugins"
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    old = Side("old", "ours", tmp_path)
    (cost,) = pipecat_streams.compare(1, 0.1, 1, [old]).values()
    assert cost.cpu > 0
    (tmp_path / package.name / "pipecat" / "__init__.py").write_text("raise SystemExit(7)\n")
    with pytest.raises(Exception, match="exit status 7"):
        pipecat_streams.compare(1, 0.1, 1, [old])


def test_ours_is_compared_with_the_builtin_service_and_with_another_checkout() -> None:
    noop = replace(COSTS["ours"], cpu=2, p50=0, p99=0)
    old = replace(COSTS["ours"], cpu=6)
    *_, builtin, before = report(50, {"no-op": noop, **COSTS, "old": old}).splitlines()
    assert builtin == (
        "  ours / built-in: CPU 0.75, p50 1.00, p99 0.50, memory 1.10; CPU above no-op 0.50"
    )
    assert before == (
        "  ours / old: CPU 0.50, p50 1.00, p99 1.00, memory 1.00; CPU above no-op 0.25"
    )


def test_what_the_framework_costs_is_taken_off_in_livekit() -> None:
    nothing = livekit_streams.Cost(1, 0, 0, 0, 0, 0)
    ours, builtin = replace(nothing, cpu=3, event_p50=1), replace(nothing, cpu=5, event_p50=2)
    table = livekit_streams.report(50, {"nothing": nothing, "built-in": builtin, "ours": ours})
    assert table.endswith("  ours / built-in: CPU 0.50, p50 0.50")


def test_times_that_say_more_of_the_machine_are_marked() -> None:
    noop = replace(COSTS["ours"], cpu=2, p50=0, p99=0)
    table = report(200, {"no-op": noop, **COSTS}).splitlines()
    assert table[-1] == "  The core was too busy for times to mean much: built-in"
    assert table[2].split() == ["no-op", "2.00", "-", "-", "110"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--streams -1", "must be positive"),
        ("--rounds 0", "must be positive"),
        ("--seconds 0", "must be positive"),
        ("--old nowhere", "nowhere has no cartesia_ink_plugins in it"),
    ],
)
def test_nothing_to_measure_is_bad_input(
    line: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *line.split()])
    with pytest.raises(SystemExit) as stop:
        arguments("", [1], ["ours"])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_another_checkout_is_a_side_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--sides", "ours", "--old", str(ROOT)])
    assert arguments("", [1], ["built-in", "ours"]).sides == [
        Side("ours", "ours"),
        Side("old", "ours", ROOT),
    ]
