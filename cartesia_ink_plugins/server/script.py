"""Scripts: what a caller says, as text and as audio.

    script = Script(
        "Hello there.",
        "I'd like a table ... for two people.",
        Turn(["Tomorrow", 2.0, "at seven"], eager=False),
        Turn(noise=0.5),
    )
    async with InkServer(script) as server:
        ...  # send script.audio(AudioFormat()) to server.url
        assert finals == script.transcripts

The audio is coded speech (see `coded_speech`): the server recognizes the words in the audio itself,
so turn events depend on the position in the audio and not on the wall clock. Lost audio is lost
words, audio sent twice is repeated words, and a replay on another connection may begin anywhere.

In JSON a script is an object with `turns`, `timing`, `cues` and `lead_in`; a turn is a string or an
object with the members of `Turn`. In plain text each line is a turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Transcript
from cartesia_ink_plugins.server.coded_speech import (
    MAX_VOCABULARY,
    WORD_SECONDS,
    CodedWord,
    Pause,
    noise,
    silence,
)
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import Emit, TurnThresholds
from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest
from cartesia_ink_plugins.server.script_manual import ScriptManualStream, transcribe_script
from cartesia_ink_plugins.server.script_turns import ScriptTiming, ScriptTurnsStream

PAUSE_SECONDS = 0.5
"""Length of the pause that ` ... ` stands for."""
_TOKEN = re.compile(r"\s*\S+(?:\s+$)?")
_PAUSE_SIGNS = ("...", "…")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the caller.

    Attributes:
        say: The words, verbatim. ` ... ` is a pause of 0.5 s inside the turn, with an eager end and
            a resume. A sequence holds strings and pauses in seconds; a pause that would end the
            turn is marked as held in the audio, so that it does not.
        gap: Seconds of silence before the turn, added to `after` of the previous turn.
        after: Seconds of silence after the turn; long enough to end it.
        eager: Whether an eager end comes before the end.
        noise: Seconds of noise before the words; without words the turn ends with empty text.
    """

    say: str | Sequence[str | float] = ""
    gap: float = 0.0
    after: float = 1.2
    eager: bool = True
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the times, and that the turn has sound."""
        for name in ("gap", "after", "noise"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}: {getattr(self, name)} is below 0 seconds")
        parts = list(self.parts())
        if not self.noise and not any(isinstance(part, str) for part in parts):
            raise UsageError("say: has no words; set noise for a turn with empty text")
        if any(isinstance(part, float) and part < 0 for part in parts):
            raise UsageError("say: a pause is below 0 seconds")

    def parts(self) -> Iterator[str | float]:
        """Yield the words, each with its leading space, and the pauses in seconds."""
        for part in [self.say] if isinstance(self.say, str) else self.say:
            if not isinstance(part, str):
                yield float(part)
                continue
            for token in _TOKEN.findall(part):
                if token.strip() in _PAUSE_SIGNS:
                    yield PAUSE_SECONDS
                else:
                    yield token if token[0].isspace() else f" {token}"

    @property
    def text(self) -> str:
        """The transcript of the turn, unless it is the first of its connection."""
        return "".join(part for part in self.parts() if isinstance(part, str))


class Script:
    """Everything that one caller says.

    Attributes:
        turns: The turns.
        timing: Delays of turn detection.
        cues: Messages at fixed positions of the audio, added to or instead of the turns.
        lead_in: Seconds of silence before the first turn.
    """

    __slots__ = ("_indices", "cues", "lead_in", "timing", "turns")

    def __init__(
        self,
        *turns: str | Turn,
        timing: ScriptTiming | None = None,
        cues: Sequence[Cue] = (),
        lead_in: float = 0.3,
    ) -> None:
        """Create a script.

        Args:
            *turns: The turns; a string is a `Turn` with the defaults.
            timing: Delays of turn detection.
            cues: Messages at fixed positions of the audio.
            lead_in: Seconds of silence before the first turn.

        Raises:
            UsageError: There are more than 10000 different words, or `lead_in` is below 0.
        """
        if lead_in < 0:
            raise UsageError(f"lead_in: {lead_in} is below 0 seconds")
        self.turns = tuple(Turn(turn) if isinstance(turn, str) else turn for turn in turns)
        self.timing = timing or ScriptTiming()
        self.cues = tuple(cues)
        self.lead_in = lead_in
        spoken = (p for turn in self.turns for p in turn.parts() if isinstance(p, str))
        self._indices = {word: index for index, word in enumerate(dict.fromkeys(spoken))}
        if len(self._indices) > MAX_VOCABULARY:
            raise UsageError(
                f"turns: {len(self._indices)} different words; at most {MAX_VOCABULARY}"
            )

    def __repr__(self) -> str:
        """Return the turns as source."""
        return f"Script({', '.join(map(repr, self.turns))})"

    @property
    def transcripts(self) -> list[str]:
        """The text of each `turn.end` on one connection; later turns begin with a space."""
        texts = []
        spoken = False
        for turn in self.turns:
            texts.append(turn.text if spoken else turn.text.lstrip())
            spoken = spoken or bool(turn.text)
        return texts

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The different words, each with its leading space; a coded word is an index into it."""
        return tuple(self._indices)

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return sum(seconds for _, seconds in self._pieces())

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Start and end of each turn's sound in the audio, in seconds."""
        spans: list[tuple[float, float]] = []
        position = self.lead_in
        for turn in self.turns:
            pieces = list(self._turn(turn))
            before, after = pieces[0][1], pieces[-1][1]
            end = position + sum(seconds for _, seconds in pieces)
            spans.append((position + before, end - after))
            position = end
        return spans

    def audio(self, audio: AudioFormat | None = None) -> bytes:
        """Render the script as audio.

        Args:
            audio: The format; 16-bit, 16 kHz by default.

        Raises:
            UsageError: The sample rate is below 8000 Hz.
        """
        audio = audio or AudioFormat()
        rate = audio.sample_rate
        sounds: list[Samples] = []
        for seed, (sound, seconds) in enumerate(self._pieces()):
            match sound:
                case CodedWord():
                    sounds.append(sound.render(rate))
                case "noise":
                    sounds.append(noise(seconds, rate, seed))
                case _:
                    sounds.append(silence(seconds, rate))
        return audio.encode(np.concatenate(sounds)) if sounds else b""

    def engine(self) -> ScriptEngine:
        """Create an engine that recognizes this script."""
        return ScriptEngine(self)

    def _pieces(self) -> Iterator[tuple[CodedWord | str, float]]:
        yield "silence", self.lead_in
        for turn in self.turns:
            yield from self._turn(turn)

    def _turn(self, turn: Turn) -> Iterator[tuple[CodedWord | str, float]]:
        """Yield the pieces of a turn; the first and the last are silence."""
        yield "silence", turn.gap
        if turn.noise:
            yield "noise", turn.noise
        parts = list(turn.parts())
        for part, following in zip(parts, [*parts[1:], None], strict=False):
            if not isinstance(part, str):
                yield "silence", part
                continue
            pause = Pause.PLAIN
            if following is None and not turn.eager:
                pause = Pause.NO_EAGER
            elif isinstance(following, float) and following >= self.timing.held_from:
                pause = Pause.HELD
            yield CodedWord(self._indices[part], pause), WORD_SECONDS
            if isinstance(following, str):
                yield "silence", self.timing.word_gap
        yield "silence", turn.after

    @classmethod
    def from_json(cls, text: str) -> Script:
        """Parse a script from JSON.

        Raises:
            UsageError: It is not JSON, or has unknown members.
        """
        try:
            data = json.loads(text, parse_constant=_reject_constant)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"script: is not JSON: {error}") from None
        if isinstance(data, list):
            data = {"turns": data}
        if not isinstance(data, dict) or not data.keys() <= {"turns", "timing", "cues", "lead_in"}:
            raise UsageError("script: must be an object with turns, timing, cues and lead_in")
        turns, cues = data.get("turns", []), data.get("cues", [])
        lead_in = data.get("lead_in", 0.3)
        if not (isinstance(turns, list) and isinstance(cues, list)):
            raise UsageError("script: turns and cues must be lists")
        if not isinstance(lead_in, int | float):
            raise UsageError("script: lead_in must be a number")
        return cls(
            *(turn if isinstance(turn, str) else _build(Turn, turn, "turn") for turn in turns),
            timing=_build(ScriptTiming, data.get("timing", {}), "timing"),
            cues=[Cue.from_dict(cue) for cue in cues],
            lead_in=lead_in,
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Script:
        """Read a script from a file: JSON if its suffix is `.json`, else one turn per line.

        In plain text, empty lines and lines beginning with `#` are skipped.

        Raises:
            UsageError: The file cannot be read or is not a script.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"script: cannot read {path}: {reason}") from None
        if Path(path).suffix == ".json":
            return cls.from_json(text)
        lines = (line.strip() for line in text.splitlines())
        return cls(*(line for line in lines if line and not line.startswith("#")))


class ScriptEngine:
    """Recognizes a script on every connection."""

    def __init__(self, script: Script) -> None:
        """Recognize `script`; connections are counted, because a cue may be for only one."""
        self.script = script
        self._connections = 0

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> ScriptTurnsStream:
        """Open a recognition stream for the next connection."""
        connection, self._connections = self._connections, self._connections + 1
        return ScriptTurnsStream(
            format,
            thresholds,
            emit,
            vocabulary=self.script.vocabulary,
            timing=self.script.timing,
            cues=[cue for cue in self.script.cues if cue.connection in (None, connection)],
        )

    def open_manual(self, request: ManualRequest, emit: ManualEmit) -> ScriptManualStream:
        """Open a recognition stream for the manual endpoint."""
        script = self.script
        return ScriptManualStream(request, emit, vocabulary=script.vocabulary, timing=script.timing)

    async def transcribe(self, format: AudioFormat, pcm: bytes, language: str) -> Transcript:
        """Transcribe a whole file."""
        return transcribe_script(format, pcm, language, self.script.vocabulary, self.script.timing)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to free."""


def _build(cls: type[_T], data: Any, what: str) -> _T:
    """Create a dataclass from a JSON object.

    Raises:
        UsageError: It is not an object, has unknown members, or a value has the wrong type.
    """
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(data, dict) or not data.keys() <= names:
        raise UsageError(f"script: a {what} must be an object with {', '.join(sorted(names))}")
    try:
        return cls(**data)
    except TypeError:
        raise UsageError(
            f"script: a {what} has a value of the wrong type: {json.dumps(data)}"
        ) from None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
