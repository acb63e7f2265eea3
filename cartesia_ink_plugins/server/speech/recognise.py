"""One recognition: what is asked of the models, and what they answer.

Runs on a worker thread; knows nothing of streams and turns.
"""

from __future__ import annotations

from dataclasses import dataclass

from cartesia_ink_plugins.server.speech.features import Features
from cartesia_ink_plugins.server.speech.onnx import SmartTurn
from cartesia_ink_plugins.server.speech.whisper import Decoded, Whisper
from cartesia_ink_plugins.server.speech.words import split

# Nobody says more than this; what has more is a loop on noise.
_TOKENS_PER_SECOND = 9
_TOKENS_AT_LEAST = 8
# What Whisper says when there is nothing: its training data are full of subtitles.
_PHANTOMS = frozenset(
    ("you", "thank you", "thanks", "thank you very much", "thanks for watching", "bye", "okay")
    + ("thank you for watching", "so", "oh", "i", "the", "hmm", "mm", "m", "uh", "um", "ah", "huh")
    + ("mhm", "yeah", "a", "s", "b", "shh", "beep", "click", "whoosh", "music", "applause")
)


@dataclass(frozen=True, slots=True)
class Request:
    """Audio to write down.

    Attributes:
        features: The window, for Whisper.
        frames: How many frames of it are audio.
        voiced: Seconds of speech after the prefix, as the VAD heard it.
        prefix: What is settled of the window's text.
        context: What was said before the window.
        melody: The turn's last seconds, for smart-turn; given in a pause, which is to be judged.
        trim: How many frames at the end of the window must be kept, when it is to be shortened.
    """

    features: Features
    frames: int
    voiced: float
    prefix: str = ""
    context: str = ""
    melody: Features | None = None
    trim: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was heard.

    Attributes:
        following: The text after the prefix; empty when nothing credible was heard.
        sentence: Chance, 0 to 1, that prefix and text are a whole sentence; None when unknown.
        complete: Chance, 0 to 1, that the voice sounds complete; None when not asked.
        cut: Where the window may be shortened: so many characters of the prefix are said in so
            many frames. Zeros when it may not.
    """

    following: str
    sentence: float | None = None
    complete: float | None = None
    cut: tuple[int, int] = (0, 0)


class Recogniser:
    """Answers requests; thread-safe."""

    __slots__ = ("_smart_turn", "_whisper")

    def __init__(self, whisper: Whisper, smart_turn: SmartTurn) -> None:
        """Use these models."""
        self._whisper = whisper
        self._smart_turn = smart_turn

    def __call__(self, request: Request) -> Answer:
        """Answer one request; blocks for a tenth of a second or two."""
        judge = request.melody is not None
        decoded = self._whisper.decode(
            request.features,
            prefix=self._tokens(request.prefix),
            context=self._tokens(request.context),
            max_tokens=_TOKENS_AT_LEAST + round(_TOKENS_PER_SECOND * request.voiced),
            judge=judge,
        )
        following = self._whisper.text(decoded.tokens)
        if not credible(following, decoded, request.voiced, after_text=bool(request.prefix)):
            following = ""
        return Answer(
            following,
            sentence=decoded.sentence if following or request.prefix else None,
            complete=None if request.melody is None else self._smart_turn(request.melody),
            cut=(0, 0) if request.trim is None else self._cut(request, decoded.tokens),
        )

    def _tokens(self, text: str) -> tuple[int, ...]:
        return self._whisper.tokens(text) if text else ()

    def _cut(self, request: Request, following: tuple[int, ...]) -> tuple[int, int]:
        """Find the last word of the prefix that ends before what must be kept."""
        prefix = self._tokens(request.prefix)
        best = (0, 0)
        if not prefix:
            return best
        tokens = prefix + following
        ends = self._whisper.word_times(request.features, tokens, request.frames)
        for number in range(1, min(len(prefix) + 1, len(tokens))):
            if ends[number - 1] > request.frames - (request.trim or 0):
                break
            if self._whisper.text(tokens[number : number + 1]).startswith(" "):
                best = (len(self._whisper.text(tokens[:number])), ends[number - 1])
        return best


def credible(text: str, decoded: Decoded, voiced: float, *, after_text: bool) -> bool:
    """Tell words from what Whisper makes of noise and silence.

    Args:
        text: What it wrote.
        decoded: How certain it was.
        voiced: Seconds of speech the VAD heard in it.
        after_text: Whether the turn already has words, so that more of them are no surprise.
    """
    words = [word.strip(" .,!?-…\"'").lower() for word in split(text)]
    if not any(words):
        return False
    phantom = " ".join(words) in _PHANTOMS
    if decoded.confidence < 0.15:
        return False
    if decoded.no_speech > 0.6 and (decoded.confidence < 0.5 or phantom) and not after_text:
        return False
    return not (phantom and decoded.confidence < 0.5 and voiced < 0.5)
