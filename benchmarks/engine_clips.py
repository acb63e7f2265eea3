"""How good the speech engine is, measured on recordings played to it in real time.

What is measured, in seconds of the wall clock since the first byte of a clip was handed in:

- *start delay*: from where speech begins to `turn.start`; *word delay*: from there to the turn's
  first words, be they in a `turn.update`, a `turn.eager_end` or a `turn.end`; *end delay*: from
  where the last speech before a `turn.end` ends to that `turn.end`. Where speech begins and ends is
  found offline, in the audio alone: stretches that Silero VAD calls speech (from 0.5, down to 0.35;
  gaps below 0.1 s are closed), each edge then moved by at most 0.2 s to where the level crosses
  30 dB below the loudest 10 ms of the stretch.
- *errors*: word substitutions, deletions and insertions of all turns together against the
  transcript, both in lower case, without punctuation and fillers ("uh"), with numbers written out.
- *revised*: transcripts that do not begin with the one before them.
- *lag*: the most audio that was ever waiting for the engine, which does not count the decodes that
  run beside it.

After each clip there are seconds of faint noise, as of a line that is still open.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnEvent, TurnStart, TurnUpdate
from cartesia_ink_plugins.server.engine import Outgoing, TurnThresholds
from cartesia_ink_plugins.server.speech.engine import SpeechEngine
from cartesia_ink_plugins.server.speech.features import SAMPLE_RATE
from cartesia_ink_plugins.server.speech.onnx import VAD_SAMPLES, VAD_SECONDS

CHUNK_SECONDS = 0.02
TAIL_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording.

    Attributes:
        name: Of its file, without the suffix.
        samples: 16 kHz audio.
        words: What is said; None when nobody wrote it down.
    """

    name: str
    samples: Samples
    words: tuple[str, ...] | None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(slots=True)
class Delays:
    """The delays of some turns, in seconds; see the top of this module."""

    starts: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What became of a clip.

    Attributes:
        clip: The recording.
        events: What was heard, each with its seconds since the clip began.
        lag: The most audio, in seconds, that was waiting to be heard.
    """

    clip: Clip
    events: list[tuple[float, TurnEvent]] = field(default_factory=list)
    lag: float = 0.0

    @property
    def text(self) -> str:
        """All turns, verbatim."""
        return "".join(e.transcript for _, e in self.events if isinstance(e, TurnEnd))

    @property
    def turns(self) -> int:
        """How many turns there were."""
        return sum(isinstance(event, TurnEnd) for _, event in self.events)

    @property
    def errors(self) -> int:
        """Wrong, missing and surplus words."""
        return 0 if self.clip.words is None else distance(self.clip.words, words_of(self.text))

    @property
    def revised(self) -> int:
        """How often text was taken back."""
        count, before = 0, ""
        for _, event in self.events:
            match event:
                case TurnStart():
                    before = ""
                case TurnUpdate(text) | TurnEagerEnd(text) | TurnEnd(text):
                    count += not text.startswith(before)
                    before = text
        return count

    def delays(self, stretches: Sequence[tuple[float, float]]) -> Delays:
        """The delays, given where there is speech.

        A turn starts with the stretches before its `turn.start`, back to the last pause of 0.3 s or
        the last `turn.end`; it ends with the last stretch that is over at its `turn.end`.
        """
        delays = Delays()
        closed = 0.0
        begun: float | None = None
        for at, event in self.events:
            match event:
                case TurnStart():
                    begun = _began(stretches, closed, at)
                    delays.starts += [] if begun is None else [at - begun]
                case TurnUpdate(text) | TurnEagerEnd(text) | TurnEnd(text) if text:
                    delays.words += [] if begun is None else [at - begun]
                    begun = None
            if isinstance(event, TurnEnd):
                over = [end for _, end in stretches if end <= at]
                delays.ends += [at - over[-1]] if over else []
                closed, begun = at, None
        return delays


def _began(stretches: Sequence[tuple[float, float]], closed: float, start: float) -> float | None:
    """Where the speech begins that a turn starts with."""
    begun: float | None = None
    for begin, end in reversed(stretches):
        if begin < start and end > closed and (begun is None or begun - end < 0.3):
            begun = max(begin, closed)
    return begun


def load(folder: Path) -> list[Clip]:
    """Load the recordings of a folder: 16-bit mono WAV at 16 kHz, `transcripts.json` beside them.

    Raises:
        UsageError: There are none, or one is in another format.
    """
    known: dict[str, str] = {}
    if (folder / "transcripts.json").is_file():
        known = json.loads((folder / "transcripts.json").read_text())
    clips = []
    for path in sorted(folder.glob("*.wav")):
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, 16_000):
                raise UsageError(f"{path}: is not 16-bit mono at 16 kHz")
            samples = AudioFormat().decode(file.readframes(file.getnframes()))
        text = known.get(path.stem)
        clips.append(Clip(path.stem, samples, None if text is None else tuple(words_of(text))))
    if not clips:
        raise UsageError(f"{folder}: has no recordings")
    return clips


async def play(engine: SpeechEngine, clip: Clip) -> Outcome:
    """Play a clip to an engine in real time."""
    outcome = Outcome(clip)
    began = time.perf_counter()

    def emit(messages: Sequence[Outgoing]) -> None:
        now = time.perf_counter() - began
        outcome.events += [(now, message) for message in messages if isinstance(message, TurnEvent)]

    format = AudioFormat()
    pcm = format.encode(np.concatenate((clip.samples, _faint_noise(TAIL_SECONDS))))
    ear = engine.open(format, TurnThresholds(), emit)
    size = format.size(CHUNK_SECONDS)
    for number, start in enumerate(range(0, len(pcm), size), 1):
        await asyncio.sleep(began + number * CHUNK_SECONDS - time.perf_counter())
        ear.receive_audio(pcm[start : start + size])
        outcome.lag = max(outcome.lag, ear.backlog)
    await ear.close()
    return outcome


async def play_all(engine: SpeechEngine, clips: Sequence[Clip], streams: int) -> list[Outcome]:
    """Deal the clips to so many streams that play at once, each one clip after the other."""
    loads: list[list[Clip]] = [[] for _ in range(streams)]
    for clip in sorted(clips, key=lambda clip: -clip.seconds):
        min(loads, key=lambda load: sum(c.seconds + TAIL_SECONDS for c in load)).append(clip)

    async def stream(load: list[Clip]) -> list[Outcome]:
        return [await play(engine, clip) for clip in load]

    done = await asyncio.gather(*(stream(load) for load in loads))
    return sorted((o for outcomes in done for o in outcomes), key=lambda o: o.clip.name)


def stretches(clip: Clip, voice: Callable[[Samples], float]) -> list[tuple[float, float]]:
    """Where there is speech in a clip, in seconds; see the top of this module."""
    samples = np.concatenate((clip.samples, _faint_noise(1.0)))
    found: list[tuple[float, float]] = []
    begin: float | None = None
    for number in range(len(samples) // VAD_SAMPLES):
        chance = voice(samples[number * VAD_SAMPLES : (number + 1) * VAD_SAMPLES])
        now = number * VAD_SECONDS
        if begin is None and chance >= 0.5:
            begin = now
        elif begin is not None and chance < 0.35:
            if found and begin - found[-1][1] < 0.1:
                begin = found.pop()[0]
            found.append((begin, now))
            begin = None
    return [_to_level(samples, *stretch) for stretch in found]


def _to_level(samples: Samples, begin: float, end: float) -> tuple[float, float]:
    """Move the edges to where the level crosses 30 dB below the loudest."""
    hop = SAMPLE_RATE // 100
    count = len(samples) // hop
    power = np.square(samples[: count * hop].reshape(count, hop)).mean(axis=1)
    first, last = round(begin * 100), round(end * 100)
    loud = power >= power[first:last].max() / 1000
    near = range(max(0, first - 20), min(count, first + 20))
    first = next((n for n in near if loud[n]), first)
    near = range(max(0, last - 20), min(count, last + 20))
    last = next((n + 1 for n in reversed(near) if loud[n]), last)
    return first / 100, last / 100


def _faint_noise(seconds: float) -> Samples:
    noise = np.random.default_rng(0).normal(0.0, 1e-4, round(seconds * SAMPLE_RATE))
    return noise.astype(np.float32)


_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_FILLERS = frozenset(("uh", "um", "er", "hm", "hmm", "mm", "mhm"))
_SPELLINGS = {"mr": "mister", "ok": "okay", "pm": "p m", "am": "a m"}


def words_of(text: str) -> list[str]:
    """The words that count: lower case, no punctuation or fillers, numbers written out."""
    text = re.sub(r"\b([ap])\.m\b\.?", r"\1m", text.lower())
    words: list[str] = []
    for word in re.findall(r"\d+|[a-z']+", text.replace("\u2019", "'")):
        spoken = _number(int(word)) if word.isdigit() else _SPELLINGS.get(word, word)
        # "a m" is also how "am" would be read; only the clock says it after a number.
        if word == "am" and not (words and words[-1] in {*_SMALL, *_TENS, "o'clock"}):
            spoken = word
        words += [] if spoken in _FILLERS else spoken.split()
    return words


def _number(value: int) -> str:
    if value < 20:
        return _SMALL[value]
    if value < 100:
        rest = f" {_SMALL[value % 10]}" if value % 10 else ""
        return _TENS[value // 10 - 2] + rest
    if value < 1000:
        rest = f" {_number(value % 100)}" if value % 100 else ""
        return f"{_SMALL[value // 100]} hundred{rest}"
    rest = f" {_number(value % 1000)}" if value % 1000 else ""
    return f"{_number(value // 1000)} thousand{rest}"


def distance(wanted: Sequence[str], got: Sequence[str]) -> int:
    """How many words must be changed, added or left out."""
    row = list(range(len(got) + 1))
    for number, word in enumerate(wanted, 1):
        above, row = row, [number]
        for column, other in enumerate(got):
            row.append(min(above[column] + (word != other), above[column + 1] + 1, row[-1] + 1))
    return row[-1]


def median(values: Iterable[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values or [float("nan")])
