"""How good the local speech engine is: word error rate, delays and lag.

Recordings are played to it in real time, first one after the other, then six at once. How much
later the turns of a recording end then is told of the same run, as machines differ, and days.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.engine_clips import Outcome, load, median, play_all, stretches
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.speech.engine import SpeechEngine

# A pause that is shorter, in seconds, is not taken for the end of a turn. A longer one may be: an
# orator's sentence then becomes several turns, of which no word is lost.
_SHORTEST_END = 0.8
# Seconds; what several streams on this machine may cost each of them.
_LATER = 0.15


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        The exit status: 1 when a target is missed.

    Raises:
        UsageError: There are no recordings, or the speech engine is not installed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        help="folder of 16-bit mono WAV files at 16 kHz with a transcripts.json "
        "(INK_AUDIO_DIR, ../shared/audio, or tests/audio)",
    )
    parser.add_argument("--only", nargs="+", metavar="CLIP", help="only these recordings")
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[1, 6], metavar="N", help="at once (1 6)"
    )
    parser.add_argument("--verbose", action="store_true", help="show every event")
    args = parser.parse_args(arguments)
    if min(args.streams) < 1:
        parser.error("--streams must be positive")
    folder = args.audio or _folder()
    clips = [clip for clip in load(folder) if not args.only or clip.name in args.only]
    if not clips:
        raise UsageError(f"--only: none of them is in {folder}")

    async def measure(streams: int) -> tuple[list[Outcome], list[list[tuple[float, float]]]]:
        engine = SpeechEngine()
        try:
            outcomes = await play_all(engine, clips, streams)
        finally:
            await engine.aclose()
        return outcomes, [stretches(o.clip, engine.voice()) for o in outcomes]

    met = True
    alone: dict[str, float] = {}
    for streams in args.streams:
        print(f"\n{len(clips)} recordings of {folder}, {streams} at once, {os.cpu_count()} cores")
        outcomes, speech = asyncio.run(measure(streams))
        print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}\n")
        ends = {
            outcome.clip.name: median(outcome.delays(spoken).ends)
            for outcome, spoken in zip(outcomes, speech, strict=True)
        }
        met = _table(outcomes, speech, ends, alone, verbose=args.verbose) and met
        alone = ends if streams == 1 else alone
    return 0 if met else 1


def _folder() -> Path:
    """Where the recordings are when nobody says it.

    Raises:
        UsageError: They are nowhere.
    """
    named = os.environ.get("INK_AUDIO_DIR")
    for folder in [Path(named)] if named else [Path("../shared/audio"), Path("tests/audio")]:
        if folder.is_dir():
            return folder
    raise UsageError("--audio: name a folder of recordings, or set INK_AUDIO_DIR")


def _table(
    outcomes: list[Outcome],
    spoken: list[list[tuple[float, float]]],
    delays_of_ends: Mapping[str, float],
    alone: Mapping[str, float],
    *,
    verbose: bool,
) -> bool:
    """Print what was measured, beside the same one at a time; True when all targets are met."""
    print(
        f"{'recording':<24} {'turns':>5} {'errors':>9} "
        f"{'start':>7} {'words':>7} {'end':>7} {'lag':>7}"
    )
    starts: list[float] = []
    first_words: list[float] = []
    ends: list[float] = []
    for outcome, speech in zip(outcomes, spoken, strict=True):
        delays = outcome.delays(speech)
        starts += delays.starts
        first_words += delays.words
        ends += delays.ends
        words = outcome.clip.words
        errors = "" if words is None else f"{outcome.errors}/{len(words)}"
        print(
            f"{outcome.clip.name:<24} {outcome.turns:>5} {errors:>9} "
            f"{max(delays.starts, default=0):>6.2f}s {median(delays.words):>6.2f}s "
            f"{delays_of_ends[outcome.clip.name]:>6.2f}s {outcome.lag:>6.2f}s"
        )
        for at, event in outcome.events if verbose else ():
            print(f"    {at:6.2f}  {event.type:<15} {getattr(event, 'transcript', '')!r}")
    words_in_all = sum(len(o.clip.words or ()) for o in outcomes)
    error_rate = sum(o.errors for o in outcomes) / max(1, words_in_all)
    revised = sum(o.revised for o in outcomes)
    cut = [
        outcome.clip.name
        for outcome, speech in zip(outcomes, spoken, strict=True)
        if outcome.turns != 1
        and all(begin - end < _SHORTEST_END for (_, end), (begin, _) in pairwise(speech))
    ]
    rows = [
        ("word error rate", f"{error_rate:.1%}", "≤ 8 %", error_rate <= 0.08),
        ("turn.start after speech begins, worst", f"{max(starts):.2f} s", "≤ 0.40 s",
         max(starts) <= 0.4),
        ("turn.start after speech begins, median", f"{median(starts):.2f} s", "", True),
        ("first interim after speech begins, median", f"{median(first_words):.2f} s", "", True),
        ("first interim after speech begins, worst", f"{max(first_words):.2f} s", "", True),
        ("turn.end after speech ends, median", f"{median(ends):.2f} s", "≤ 1.0 s",
         median(ends) <= 1.0),
        ("turn.end after speech ends, worst", f"{max(ends):.2f} s", "", True),
        ("texts revised", str(revised), "0", revised == 0),
        ("cut at a pause under 0.8 s", ", ".join(cut) or "none", "none", not cut),
        ("lag, worst", f"{max(o.lag for o in outcomes):.2f} s", "≤ 1.0 s",
         max(o.lag for o in outcomes) <= 1.0),
    ]  # fmt: skip
    if alone:
        later = median(delays_of_ends[name] - alone[name] for name in alone)
        rows.append(("turn.end later than alone, median", f"{later:.2f} s", "≤ 0.15 s",
                     later <= _LATER))  # fmt: skip
    print()
    for name, value, target, met in rows:
        verdict = f"target {target:<9} {'met' if met else 'MISSED'}" if target else ""
        print(f"{name:<42} {value:>8}   {verdict}".rstrip())
    return all(met for *_, met in rows)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UsageError as error:
        sys.exit(f"benchmarks.engine_table: {error}")
