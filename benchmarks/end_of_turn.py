"""How soon and how rightly the local engine ends a turn: `python -m benchmarks.end_of_turn`.

Offline voices of several packages speak turns with planted pauses, through a telephone and in
noise; see `end_of_turn_material`. Reported is the part that nothing was tuned on: as a curve over
the thresholds, and at the default thresholds by kind of turn, by voice and by sound. See
`end_of_turn_measure` for what is measured. The first run takes some minutes; what was spoken and
recognised is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.end_of_turn_material import Clip, material
from benchmarks.end_of_turn_measure import Figures, Outcome, figures, outcome
from benchmarks.end_of_turn_play import Player, memo_in
from benchmarks.end_of_turn_recordings import recordings
from benchmarks.end_of_turn_script import Kind, Part
from benchmarks.end_of_turn_voices import installed_voices
from cartesia_ink_plugins.server.engine import TurnThresholds

CACHE = Path(".cache/end-of-turn")
# From hasty to patient; the third are the defaults, the second and the fifth are the profiles
# "responsive" and "patient" of the API's documentation.
CURVE = (
    TurnThresholds(start=0.8, eager_end=0.75, end=0.5),
    TurnThresholds(start=0.7, eager_end=0.6, end=0.4, timeout_ms=4500),
    TurnThresholds(),
    TurnThresholds(eager_end=0.5, end=0.2),
    TurnThresholds(eager_end=0.3, end=0.1, timeout_ms=8000),
    TurnThresholds(eager_end=0.3, end=0.05, timeout_ms=8000),
)
_HEAD = (
    f"{'':<26} {'turns':>5} {'pauses':>6}  {'cut':>5} {'<0.8s':>5}  "
    f"{'mean':>5} {'p50':>5} {'p90':>5}  {'eager':>5} {'lead':>5} {'back':>5}  "
    f"{'start':>5} {'WER':>5}"
)
_LEGEND = (
    "cut: false cut-offs per 100 planted pauses, <0.8s: per 100 of those under 0.8 s; mean, p50, "
    "p90:\ndelay of turn.end in seconds; eager: mean delay of turn.eager_end; lead: turns per 100 "
    "where that is\nat least 0.15 s earlier; back: turn.eager_ends per 100 that were withdrawn; "
    "start: median delay of\nturn.start"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, measure, print.

    Returns:
        The exit status: 1 when a goal is missed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.end_of_turn", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--part", choices=[p.value for p in Part], default="report", help="which turns (report)"
    )
    parser.add_argument("--voice", nargs="+", metavar="NAME", help="only these voices")
    parser.add_argument(
        "--audio", type=Path, metavar="DIR", help="recordings to report beside the voices' turns"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", default=CACHE, help=f"({CACHE})")
    parser.add_argument("--default-only", action="store_true", help="no curve")
    parser.add_argument("--verbose", action="store_true", help="show every cut and every late end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(arguments)
    part = Part(args.part)
    clips = list(_clips(part, args.voice, args.cache))
    recorded = recordings(args.audio) if args.audio else []
    if not clips and not recorded:
        parser.error("no voice is installed, and no recordings are named")
    memo = memo_in(args.cache)
    player = Player.load(memo)

    def play(clips: Sequence[Clip], thresholds: TurnThresholds) -> list[Outcome]:
        played = [outcome(clip, player.play(clip.samples, thresholds)) for clip in clips]
        memo.save()
        return played

    found: dict[str, Figures] = {}

    def row(name: str, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            found[name] = figures(outcomes)
            print(_line(name, found[name]), flush=True)

    print(f"\nPart: {part.value}\n\n{_HEAD}")
    for thresholds in (TurnThresholds(),) if args.default_only else CURVE:
        outcomes = play(clips, thresholds)
        row(_name(thresholds), outcomes)
        if thresholds == TurnThresholds():
            default = outcomes
    _operating_points([found[_name(t)] for t in CURVE if _name(t) in found])
    print(f"\nAt the default thresholds\n\n{_HEAD}")
    _by(default, lambda o: o.clip.turn.kind.value, [kind.value for kind in Kind], row)
    _by(default, lambda o: o.clip.sound.value, None, row)
    _by(default, lambda o: o.clip.voice, None, row)
    row("recordings", play(recorded, TurnThresholds()))
    print(f"\n{_LEGEND}\n")
    if args.verbose:
        _show(default)
    if args.json:
        args.json.write_text(json.dumps({name: asdict(f) for name, f in found.items()}, indent=1))
    return 0 if _goals(found) else 1


def _clips(part: Part, only: Sequence[str] | None, cache: Path) -> Iterator[Clip]:
    voices, missing = installed_voices()
    for line in missing:
        print(line)
    chosen = [v for v in voices if part in v.parts and (not only or v.name in only)]
    for voice in chosen:
        print(f"{voice.name}: {voice.package}")
    return material(part, chosen, cache)


def _by(
    outcomes: Sequence[Outcome],
    group: Callable[[Outcome], str],
    order: Sequence[str] | None,
    row: Callable[[str, Sequence[Outcome]], None],
) -> None:
    for name in order or sorted({group(o) for o in outcomes}):
        row(name, [o for o in outcomes if group(o) == name])


def _name(thresholds: TurnThresholds) -> str:
    name = f"eager {thresholds.eager_end} end {thresholds.end}"
    return f"{name} (default)" if thresholds == TurnThresholds() else name


def _line(name: str, f: Figures) -> str:
    return (
        f"{name:<26} {f.turns:>5} {f.pauses:>6}  {f.cut_offs:>5.1f} {f.short_cut_offs:>5.1f}  "
        f"{f.mean:>5.2f} {f.median:>5.2f} {f.p90:>5.2f}  {f.eager_mean:>5.2f} {f.leads:>5.1f} "
        f"{f.withdrawn:>5.1f}  {f.start:>5.2f} {f.word_errors:>5.1f}"
    )


def _operating_points(curve: Sequence[Figures]) -> None:
    """Print what eot-bench compares: the mean delay at 5 and 10 false cut-offs per 100 pauses."""
    if len(curve) < 2:
        return
    for budget in (5.0, 10.0):
        within = [f.mean for f in curve if f.cut_offs <= budget]
        best = f"{min(within):.2f} s" if within else "not reached"
        print(f"mean delay at {budget:.0f} % false cut-offs: {best}")


def _goals(found: dict[str, Figures]) -> bool:
    default, answers = found[_name(TurnThresholds())], found[Kind.ANSWER.value]
    rows = [
        ("turn.end, median", default.median, "≤ 0.6 s", default.median <= 0.6),
        ("turn.end, 90th percentile", default.p90, "≤ 1.2 s", default.p90 <= 1.2),
        ("turn.end of short answers, median", answers.median, "≤ 0.7 s", answers.median <= 0.7),
        ("false cut-offs in pauses under 0.8 s", default.short_cut_offs, "≤ 5 %",
         default.short_cut_offs <= 5),
        ("turn.eager_end 0.15 s earlier", default.leads, "≥ 80 %", default.leads >= 80),
        ("turn.eager_end withdrawn", default.withdrawn, "≤ 30 %", default.withdrawn <= 30),
        ("turn.start, median", default.start, "≤ 0.3 s", default.start <= 0.3),
    ]  # fmt: skip
    for name, value, goal, met in rows:
        print(f"{name:<40} {value:>6.2f}   goal {goal:<8} {'met' if met else 'MISSED'}")
    return all(met for *_, met in rows)


def _show(outcomes: Sequence[Outcome]) -> None:
    def line(what: str, seconds: str, o: Outcome, pieces: Sequence[str]) -> None:
        print(
            f"{what} {seconds:>6}  {o.clip.voice:<15} {o.clip.sound.value:<11}", " | ".join(pieces)
        )

    for o in outcomes:
        for number, ((begin, end), cut) in enumerate(zip(o.clip.pauses, o.cuts, strict=True), 1):
            if cut:
                line("cut ", f"{end - begin:.2f} s", o, o.clip.turn.pieces[:number])
    for o in sorted(outcomes, key=lambda o: -(o.delay or 99)):
        if o.delay is None or o.delay > 1.0:
            late = "never" if o.delay is None else f"{o.delay:.2f} s"
            line("late", late, o, o.clip.turn.pieces)


if __name__ == "__main__":
    sys.exit(main())
