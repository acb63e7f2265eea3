"""Make the weights of the end-of-turn model anew: `python -m benchmarks.end_of_turn_fit`.

Every pause of the turns to tune on is judged; a logistic regression, held down by a penalty on
large weights, tells the last one of a turn from those inside it. Nothing of the reported part is
looked at. How good it is on turns that it was not fitted to is told by leaving an eighth of the
turns out, eight times.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.end_of_turn import CACHE
from benchmarks.end_of_turn_material import Clip, material
from benchmarks.end_of_turn_play import Judged, Player, memo_in
from benchmarks.end_of_turn_script import Part
from benchmarks.end_of_turn_voices import installed_voices
from cartesia_ink_plugins.server.speech import ending
from cartesia_ink_plugins.server.speech.ending import features

Array = npt.NDArray[np.float64]

WEIGHTS = Path(ending.__file__).with_name("ending_weights.json")
# What holds the weights near to what one expects, but for the constant. Some of these words are
# rare in the turns, and what they mean is no question.
_PENALTY = 1.0
_EXPECTED = {
    "unfinished": -2.0,
    "opener": -2.0,
    "half": -2.0,
    "broken off": -1.0,
    "open list": -1.5,
    "open number": -1.5,
    "leading zero": -1.5,
    "letters": -1.0,
    "whole number": 1.0,
    "closing": 1.0,
    "phrase": 1.0,
    "reply": 1.0,
    "time": 1.0,
    "unit": 1.0,
    "command": 0.5,
}
# The VAD may hear the end so much before the voice ends.
_EARLY = 0.15
# The synthetic voices mislead smart-turn, which knows real ones: its weight is given, not fitted.
_GIVEN = {"voice": 0.1}
_FOLDS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, say how good it is, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_of_turn_fit")
    parser.add_argument("--cache", type=Path, metavar="DIR", default=CACHE, help=f"({CACHE})")
    args = parser.parse_args(arguments)
    voices, missing = installed_voices()
    for line in missing:
        print(line)
    memo = memo_in(args.cache)
    player = Player.load(memo, lambda _: 0.5)
    pauses = [
        (clip, judged)
        for clip in material(Part.TUNE, voices, args.cache)
        for judged in player.trace(clip)
    ]
    memo.save()
    names = list(features(pauses[0][1].evidence))
    rows = np.array([list(features(judged.evidence).values()) for _, judged in pauses])
    final = np.array([is_final(*pause) for pause in pauses], np.float64)
    weights = fit(names, rows, final)
    left_out = _left_out(names, rows, final, [clip for clip, _ in pauses])
    for name, weight, mean in zip(names, weights, rows.mean(axis=0), strict=True):
        print(f"{name:<16} {weight:6.2f}   mean {mean:6.2f}")
    print(f"{len(pauses)} pauses, {int(final.sum())} of them the last of a turn")
    print(f"area under the curve, on turns left out: {area(left_out, final):.3f}")
    rounded = {name: round(float(weight), 3) for name, weight in zip(names, weights, strict=True)}
    note = "Made by benchmarks/end_of_turn_fit.py; see ending.py for what they weigh."
    WEIGHTS.write_text(json.dumps({"note": note, "weights": rounded}, indent=1) + "\n")
    return 0


def is_final(clip: Clip, judged: Judged) -> bool:
    """Whether a pause is the last of its turn."""
    return judged.at - judged.pause >= clip.end - _EARLY


def fit(names: Sequence[str], rows: Array, final: Array) -> Array:
    """Weights that tell final rows from others; Newton's method."""
    given = np.array([_GIVEN.get(name, np.nan) for name in names])
    free = np.isnan(given)
    offset = rows[:, ~free] @ given[~free]
    penalty = np.where(np.array(names)[free] == "always", 1e-3, _PENALTY)
    expected = np.array([_EXPECTED.get(name, 0.0) for name in np.array(names)[free]])
    weights = expected.copy()
    for _ in range(60):
        chance = chances(rows[:, free], weights, offset)
        slope = rows[:, free].T @ (chance - final) + penalty * (weights - expected)
        bend = (rows[:, free] * (chance * (1 - chance))[:, None]).T @ rows[:, free]
        weights -= 0.5 * np.linalg.solve(bend + np.diag(penalty), slope)
    result = given.copy()
    result[free] = weights
    return result


def chances(rows: Array, weights: Array, offset: Array | float = 0.0) -> Array:
    """What the model says of rows."""
    said: Array = 1.0 / (1.0 + np.exp(-(rows @ weights + offset)))
    return said


def _left_out(names: Sequence[str], rows: Array, final: Array, clips: Sequence[Clip]) -> Array:
    """What models say of rows whose turns they were not fitted to."""
    turns = sorted({clip.turn.pieces for clip in clips})
    fold = dict(zip(turns, np.random.default_rng(0).integers(0, _FOLDS, len(turns)), strict=True))
    folds = np.array([fold[clip.turn.pieces] for clip in clips])
    said = np.zeros(len(rows))
    for number in range(_FOLDS):
        rest, out = folds != number, folds == number
        weights = fit(names, rows[rest], final[rest])
        said[out] = chances(rows[out], weights)
    return said


def area(said: Array, final: Array) -> float:
    """The chance that a final row is told from another: the area under the ROC curve."""
    ranks = np.empty(len(said))
    ranks[np.argsort(said)] = np.arange(len(said))
    ends = final.sum()
    return float((ranks[final == 1].sum() - ends * (ends - 1) / 2) / (ends * (len(final) - ends)))


if __name__ == "__main__":
    sys.exit(main())
