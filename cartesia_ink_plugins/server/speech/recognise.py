"""One recognition: what is asked of the models, and what they answer.

Runs on a worker thread; knows nothing of streams and turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cartesia_ink_plugins.server.speech.ending import Evidence, chance_of_end
from cartesia_ink_plugins.server.speech.features import Features
from cartesia_ink_plugins.server.speech.onnx import SmartTurn
from cartesia_ink_plugins.server.speech.whisper import After, Decoded, Whisper
from cartesia_ink_plugins.server.speech.words import after, split

# Nobody says more than this; what has more is a loop on noise.
_TOKENS_PER_SECOND = 9
_WORDS_PER_SECOND = 4.5
_TOKENS_AT_LEAST = 8
# In a pause, where what is heard is final, the text is worth some more milliseconds.
_BEAMS = 5
# How probable a word must be, if another follows it and if none does, to be called sure. Only the
# first words are asked: they decide how soon there is an interim.
_SURE, _SURE_AT_LAST, _SURE_TOKENS = 0.4, 0.6, 8
# The next word is as good as certain.
_BROKEN_OFF = 0.1
_MARKS = ".,?!-"
# What Whisper says when there is nothing: its training data are full of subtitles.
_PHANTOMS = frozenset(
    """
    you, thank you, thanks, thank you very much, thanks for watching, thank you for watching, bye,
    okay, so, oh, i, the, hmm, mm, m, uh, um, ah, huh, mhm, yeah, a, s, b, shh, beep, click, whoosh,
    music, applause
    """.replace("\n", " ")
    .strip()
    .replace(",  ", ", ")
    .split(", ")
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
        keep: How many frames at the end of the window must be kept, when it is to be shortened.
    """

    features: Features
    frames: int
    voiced: float
    prefix: str = ""
    context: str = ""
    melody: Features | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was heard.

    Attributes:
        following: The text after the prefix; empty when nothing credible was heard.
        sure: The words it begins with, as far as the model itself is sure of them; what stands
            after the last of them is open.
        final: Chance, 0 to 1, that the turn ends here; None when nobody asked, or without words.
        cut: Where the window may be shortened: so many characters of the prefix are said in so
            many frames. Zeros when it may not.
    """

    following: str
    sure: str = ""
    final: float | None = None
    cut: tuple[int, int] = (0, 0)


class Kind(Enum):
    """Why something is to be recognised."""

    PARTIAL = "partial"
    PAUSE = "pause"


@dataclass(slots=True, eq=False)
class Asked:
    """A request under way.

    Attributes:
        kind: Why.
        request: For a `Recogniser`.
        end: The frame at which its audio ends.
        answer: What came back.
        settled: Whether its words are settled.
    """

    kind: Kind
    request: Request
    end: int
    answer: Answer | None = None
    settled: bool = False


class Recogniser:
    """Answers requests; thread-safe."""

    __slots__ = ("_judge_end", "_smart_turn", "_whisper")

    def __init__(
        self,
        whisper: Whisper,
        smart_turn: SmartTurn,
        *,
        judge_end: Callable[[Evidence], float] = chance_of_end,
    ) -> None:
        """Use these models, and this judge of pauses."""
        self._whisper = whisper
        self._smart_turn = smart_turn
        self._judge_end = judge_end

    def __call__(self, request: Request) -> Answer:
        """Answer one request; blocks for a tenth of a second or two."""
        heard = self._whisper.encode(request.features)
        if request.melody is None:
            decoded = self._decode(heard, request, request.prefix, beams=1)
            chances = self._chances(decoded)
            if not request.prefix:
                # Of the first words nothing before them tells which they are: with five beams they
                # are heard better, and sure are those that one beam hears as well.
                decoded = self._decode(heard, request, "")
            following = self._credible(request, decoded)
            answer = Answer(following, sure(following, chances))
            tokens = self._tokens(request.prefix) + (decoded.tokens if following else ())
            if request.keep is not None:
                latest = request.frames - request.keep
                settled = len(self._tokens(request.prefix))
                cut = self._cut(heard, tokens, settled, request.frames, latest)
                answer = replace(answer, cut=cut)
            return answer
        following, after_it = self._pause(heard, request)
        final = None
        if after_it is not None:
            text = request.prefix + following
            complete = self._smart_turn(request.melody)
            final = self._judge_end(Evidence(text, after_it, complete))
        # Nothing is cut off in a pause, and five beams are sure of what they settle on.
        return Answer(following, following.rstrip(_MARKS), final)

    def _pause(self, heard: Any, request: Request) -> tuple[str, After | None]:
        """What follows the prefix, and what Whisper would write after all of it.

        The text is found anew, as what follows is best found without being tied to the prefix; only
        when it turns out differently up to there, the prefix is forced on it.
        """
        decoded = self._decode(heard, request, "")
        prefix = ""
        if after(request.prefix, self._whisper.text(decoded.tokens)) is None:
            prefix = request.prefix
            decoded = self._decode(heard, request, prefix)
        if not self._credible(request, decoded):
            decoded = replace(decoded, tokens=())
        if not prefix and not decoded.tokens:
            prefix = request.prefix
        if not prefix:
            once = without_loop(self._whisper.text(decoded.tokens), request.voiced)
            decoded = replace(decoded, tokens=self._whisper.first(decoded.tokens, len(once)))
        settled = self._tokens(prefix)
        tokens, after_it = self._judge(heard, settled + decoded.tokens, len(settled), request)
        following = self._whisper.text(tokens[len(settled) :])
        if not prefix:
            following = after(request.prefix, following) or ""
        return following, after_it

    def _decode(self, heard: Any, request: Request, prefix: str, *, beams: int = _BEAMS) -> Decoded:
        return self._whisper.decode(
            heard,
            prefix=self._tokens(prefix),
            context=self._tokens(request.context),
            max_tokens=_cap(request, prefix),
            beams=beams,
            chances=_SURE_TOKENS if beams == 1 else 0,
        )

    def _chances(self, decoded: Decoded) -> list[tuple[str, float]]:
        """The pieces of a text, each with its probability; a mark counts for nothing."""
        pieces = []
        for token, chance in zip(decoded.tokens, decoded.chances, strict=False):
            text = self._whisper.text((token,))
            pieces.append((text, chance if text[-1:].isalnum() else 1.0))
        return pieces

    def _credible(self, request: Request, decoded: Decoded) -> str:
        """The text of a decode, if it can be believed."""
        text = self._whisper.text(decoded.tokens)
        known = bool(request.prefix)
        return text if credible(text, decoded, request.voiced, after_text=known) else ""

    def _judge(
        self, heard: Any, tokens: tuple[int, ...], settled: int, request: Request
    ) -> tuple[tuple[int, ...], After | None]:
        """Say what stands after a text; go on with one that was broken off.

        A search with several beams sometimes stops where there is no end in sight.
        """
        after_it = self._whisper.after(heard, tokens)
        bare = self._whisper.without_marks(tokens)
        if after_it is None or after_it.sentence > _BROKEN_OFF or len(bare) < settled:
            return tokens, after_it
        cap = _cap(request, request.prefix)
        more = self._whisper.decode(heard, prefix=bare, max_tokens=cap).tokens
        text = self._whisper.text(bare)
        if not more or after(text, self._whisper.text(more)) is not None:
            return tokens, after_it  # nothing follows, or everything is said once more
        return bare + more, self._whisper.after(heard, bare + more)

    def _tokens(self, text: str) -> tuple[int, ...]:
        return self._whisper.tokens(text) if text else ()

    def _cut(
        self, heard: Any, tokens: tuple[int, ...], settled: int, frames: int, latest: int
    ) -> tuple[int, int]:
        """Find the last settled word that ends before the latest frame."""
        best = (0, 0)
        if not settled:
            return best
        ends = self._whisper.word_times(heard, tokens, frames)
        for number in range(1, min(settled + 1, len(tokens))):
            if ends[number - 1] > latest:
                break
            if self._whisper.text(tokens[number : number + 1]).startswith(" "):
                best = (len(self._whisper.text(tokens[:number])), ends[number - 1])
        return best


def without_loop(text: str, voiced: float) -> str:
    """A text without a phrase that it repeats at its end, if there was no time to say that.

    A search with several beams is prone to such loops: a repetition costs it nothing.

    Args:
        text: What was heard.
        voiced: Seconds of speech in it.
    """
    words = split(text)
    bare = [word.strip(_MARKS + " ").lower() for word in words]
    while len(bare) > _WORDS_PER_SECOND * voiced:
        lengths = range(len(bare) // 2, 0, -1)
        length = next((n for n in lengths if bare[-n:] == bare[-2 * n : -n]), 0)
        if not length:
            break
        del bare[-length:]
    return "".join(words[: len(bare)])


def sure(text: str, pieces: Sequence[tuple[str, float]]) -> str:
    """The words a text begins with that are probable enough.

    Args:
        text: What was heard.
        pieces: Its first pieces, each with its probability.

    Returns:
        So much of the text, without a mark at its end.
    """
    words: list[tuple[str, float]] = []
    for piece, chance in pieces:
        if words and not piece.startswith(" "):
            piece, chance = words[-1][0] + piece, min(words.pop()[1], chance)
        words.append((piece, chance))
    known = ""
    for number, (word, chance) in enumerate(words):
        at_last = number == len(words) - 1
        if chance < (_SURE_AT_LAST if at_last else _SURE):
            break
        known += word
    return known.rstrip(_MARKS) if text.startswith(known) else ""


def _cap(request: Request, prefix: str) -> int:
    """How many new tokens there may be."""
    known = 0 if prefix else len(request.prefix) // 2
    return _TOKENS_AT_LEAST + known + round(_TOKENS_PER_SECOND * request.voiced)


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
