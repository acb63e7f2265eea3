"""What a stream costs in LiveKit: ours beside the built-in plugin.

Many streams at once are fed like rooms feed them: 24 kHz, frames of 50 ms, in real time, out of
step with one another because no two callers call in the same instant. Messages come at the rate of
speech, 2.5 a second. The sides take turns, and the medians of the rounds are shown. The CPU time of
an STT that does nothing is taken off, so that what is left is the plugin and its socket.

    floor      an STT that does the least: send each frame, make an event of each message
    built-in   LiveKit's own plugin, which gathers 160 ms of audio into one message
    ours       ink.STT, which sends each frame at once

    CPU     milliseconds of CPU time for a second of one stream's audio
    event   milliseconds from the server's sending a message to the SpeechEvent
    wait    milliseconds from a frame's being handed in, when its 50 ms are over, until all of it is
            at the server: what the plugin holds it back, and the way through both event loops
    memory  KiB that a stream adds to the process
    reply   milliseconds from `turn.end` to the first sound of the reply, in a session whose LLM and
            TTS take no time
"""

from __future__ import annotations

import asyncio
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.sides import Measured, Side, arguments, measure, medians

SIDES = ("nothing", "floor", "built-in", "ours")
SCRIPT = Path(__file__).with_name("livekit_side.py")
FRAME_SECONDS = 0.05
REPLIES = 5
_HEAD = ("CPU ms/s", "event p50", "p99", "wait mean", "p99", "KiB/stream")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one side cost in one round.

    Attributes:
        cpu: Milliseconds of CPU time per second of audio of one stream.
        event_p50: Milliseconds from the server's sending to the SpeechEvent, median.
        event_p99: The same, 99th percentile.
        wait_mean: Milliseconds from a frame's being pushed to its arrival at the server.
        wait_p99: The same, 99th percentile.
        memory: KiB per stream.
    """

    cpu: float
    event_p50: float
    event_p99: float
    wait_mean: float
    wait_p99: float
    memory: float


def compare(streams: int, seconds: float, rounds: int, sides: Sequence[Side]) -> dict[str, Cost]:
    """Measure sides, in turns; return the medians of the rounds, by name."""
    results: dict[str, list[Cost]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            results[side.name].append(_cost(measure(SCRIPT, side, streams, seconds)))
    return {name: medians(costs) for name, costs in results.items()}


def _cost(measured: Measured) -> Cost:
    figures = measured.figures
    waits = [
        wait
        for name, arrivals in measured.arrivals.items()
        for wait in _waits(figures["pushes"][name], arrivals)
    ]
    return Cost(
        cpu=figures["cpu"],
        event_p50=_percentile(figures["delays"], 50),
        event_p99=_percentile(figures["delays"], 99),
        wait_mean=statistics.fmean(waits) if waits else 0.0,
        wait_p99=_percentile(waits, 99),
        memory=figures["memory"],
    )


def _waits(pushes: Sequence[float], arrivals: Sequence[tuple[float, float]]) -> list[float]:
    """For each frame, milliseconds from being pushed to being at the server as a whole."""
    positions = [position for position, _ in arrivals]
    waits = []
    for count, pushed in enumerate(pushes, start=1):
        # Resampling may swallow a sample or two.
        place = bisect_left(positions, count * FRAME_SECONDS - 0.001)
        # The first frames waited for the connection, the last for the end of the stream.
        if count > 1 and place < len(arrivals):
            waits.append(1000 * (arrivals[place][1] - pushed))
    return waits


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else 0.0


def report(streams: int, costs: Mapping[str, Cost]) -> str:
    """The table of one number of streams."""
    lines = [
        f"{streams} streams of 50 ms frames, less what an STT costs that does nothing",
        f"  {'':12}" + "".join(f"{title:>12}" for title in _HEAD),
    ]
    framework = costs["nothing"].cpu if "nothing" in costs else 0.0
    plugins = {
        name: replace(cost, cpu=cost.cpu - framework)
        for name, cost in costs.items()
        if name != "nothing"
    }
    for name, cost in plugins.items():
        values = (cost.cpu, cost.event_p50, cost.event_p99, cost.wait_mean, cost.wait_p99)
        row = "".join(f"{value:12.2f}" for value in values)
        lines.append(f"  {name:12}{row}{cost.memory:12.0f}")
    lines += [
        f"  ours / {other}: CPU {plugins['ours'].cpu / plugins[other].cpu:.2f}, "
        f"p50 {plugins['ours'].event_p50 / plugins[other].event_p50:.2f}"
        for other in ("built-in", "old")
        if {"ours", other} <= plugins.keys()
    ]
    return "\n".join(lines)


async def replies(side: str) -> list[float]:
    """Milliseconds from the end of each of some turns to its reply."""
    import aiohttp

    from benchmarks.livekit_side import make_stt
    from cartesia_ink_plugins.core.audio import AudioFormat
    from cartesia_ink_plugins.testing import InkServer, Script, Turn
    from tests.livekit.harness import ROOM_RATE, call

    script = Script(*[Turn("Hello there.", gap=0.5, after=1.5) for _ in range(REPLIES)])
    async with InkServer(script) as server, aiohttp.ClientSession() as http:
        make = make_stt(side, server.url, "reply", http)
        async with call(make) as running:
            await running.microphone.speak(script.audio(AudioFormat(sample_rate=ROOM_RATE)))
            await running.answered(REPLIES)
        await make.aclose()
    return [1000 * delay for delay in running.reply_delays]


def main() -> None:
    """Run the benchmark."""
    assert __doc__
    args = arguments(__doc__, [1, 50, 100, 200], SIDES)
    for streams in args.streams:
        costs = compare(streams, args.seconds, args.rounds, args.sides)
        print(report(streams, costs), flush=True)
    for side in ("built-in", "ours"):
        if side in [one.name for one in args.sides]:
            delays = asyncio.run(replies(side))
            print(f"reply {statistics.median(delays):.0f} ms after turn.end, {side}")


if __name__ == "__main__":
    main()
