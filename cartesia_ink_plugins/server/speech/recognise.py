"""One recognition: what is asked of the models, and what they answer.

Runs on a worker thread; knows nothing of streams and turns.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from cartesia_ink_plugins.server.speech.credible import MARKS, credible, sure, without_loop
from cartesia_ink_plugins.server.speech.ending import Evidence, chance_of_end
from cartesia_ink_plugins.server.speech.features import Features
from cartesia_ink_plugins.server.speech.onnx import SmartTurn
from cartesia_ink_plugins.server.speech.whisper import After, Decoded, Whisper
from cartesia_ink_plugins.server.speech.words import after

_T = TypeVar("_T")

# Nobody says more than this; what has more is a loop on noise.
_TOKENS_PER_SECOND = 9
_TOKENS_AT_LEAST = 8
# In a pause, where what is heard is final, the text is worth some more milliseconds.
_BEAMS = 5
# Of so many tokens it is asked whether they are sure: they decide how soon there is an interim.
_SURE_TOKENS = 8
# The next word is as good as certain.
_BROKEN_OFF = 0.1


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


Awaited = Callable[[], bool]
"""Says whether somebody still waits for an answer."""
Recognise = Callable[[Request, Awaited], Answer | None]
"""Answers a request, or returns None when nobody waits for the answer any more."""


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

    __slots__ = ("_helpers", "_judge_end", "_smart_turn", "_whisper")

    def __init__(
        self,
        whisper: Whisper,
        smart_turn: SmartTurn,
        *,
        judge_end: Callable[[Evidence], float] = chance_of_end,
        helpers: Executor | None = None,
    ) -> None:
        """Use these models, and this judge of pauses.

        Args:
            whisper: Hears the words.
            smart_turn: Hears whether the voice sounds complete.
            judge_end: The chance, 0 to 1, that a turn ends.
            helpers: Where parts of the work on a pause may be done beside the others; by default
                one is done after the other, and what turns out not to be needed is not done.
        """
        self._whisper = whisper
        self._smart_turn = smart_turn
        self._judge_end = judge_end
        self._helpers = helpers

    def __call__(self, request: Request, awaited: Awaited = lambda: True) -> Answer | None:
        """Answer one request; blocks for a tenth of a second or two.

        Args:
            request: What to write down.
            awaited: Whether somebody still waits for the answer; asked before each long step.

        Returns:
            The answer; None when nobody waited for it any more.
        """
        melody, final = request.melody, None
        complete = None if melody is None else self._beside(partial(self._smart_turn, melody))
        heard = self._whisper.encode(request.features)
        if not awaited():
            return None
        if complete is None:
            return self._partial(heard, request, awaited)
        following, after_it = self._pause(heard, request)
        if after_it is not None:
            text = request.prefix + following
            final = self._judge_end(Evidence(text, after_it, complete()))
        # Nothing is cut off in a pause, and five beams are sure of what they settle on.
        return Answer(following, following.rstrip(MARKS), final)

    def _beside(self, work: Callable[[], _T]) -> Callable[[], _T]:
        """Have a helper do it now, if there are any; the result is there when it is asked for."""
        return self._helpers.submit(work).result if self._helpers else work

    def _partial(self, heard: Any, request: Request, awaited: Awaited) -> Answer | None:
        """What follows the prefix while somebody speaks."""
        decoded = self._decode(heard, request, request.prefix, beams=1)
        chances = self._chances(decoded)
        if not request.prefix and not decoded.certain:
            # Of the first words nothing before them tells which they are: with five beams they
            # are heard better, and sure are those that one beam hears as well.
            if not awaited():
                return None
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

    def _pause(self, heard: Any, request: Request) -> tuple[str, After | None]:
        """What follows the prefix, and what Whisper would write after all of it.

        The text is found anew, as what follows is best found without being tied to the prefix; only
        when it turns out differently up to there, the prefix is forced on it.
        """
        decoded = self._best(heard, request, "")
        prefix = ""
        if after(request.prefix, self._whisper.text(decoded.tokens)) is None:
            prefix = request.prefix
            decoded = self._best(heard, request, prefix)
        if not self._credible(request, decoded):
            decoded = replace(decoded, tokens=(), after=None)
        if not prefix and not decoded.tokens:
            prefix = request.prefix
        if not prefix:
            once = without_loop(self._whisper.text(decoded.tokens), request.voiced)
            tokens = self._whisper.first(decoded.tokens, len(once))
            if tokens != decoded.tokens:
                decoded = replace(decoded, tokens=tokens, after=None)
        settled = self._tokens(prefix)
        tokens, after_it = self._judge(heard, settled, decoded, request)
        following = self._whisper.text(tokens[len(settled) :])
        if not prefix:
            following = after(request.prefix, following) or ""
        return following, after_it

    def _best(self, heard: Any, request: Request, prefix: str) -> Decoded:
        """What five beams hear, or one if it is certain, as that is the same.

        Only one beam says what stands after the last word; where both hear the same words, that
        need not be asked once more.
        """
        search = self._beside(partial(self._decode, heard, request, prefix))
        quick = self._decode(heard, request, prefix, beams=1)
        if quick.certain:
            return quick
        best, bare = search(), self._whisper.without_marks
        same = bare(best.tokens) == bare(quick.tokens)
        return replace(best, after=quick.after) if same else best

    def _decode(self, heard: Any, request: Request, prefix: str, *, beams: int = _BEAMS) -> Decoded:
        return self._whisper.decode(
            heard,
            prefix=self._tokens(prefix),
            context=self._tokens(request.context),
            max_tokens=_cap(request, prefix),
            beams=beams,
        )

    def _chances(self, decoded: Decoded) -> list[tuple[str, float]]:
        """The pieces of a text, each with its probability; a mark counts for nothing."""
        pieces = []
        for token, chance in zip(decoded.tokens, decoded.chances[:_SURE_TOKENS], strict=False):
            text = self._whisper.text((token,))
            pieces.append((text, chance if text[-1:].isalnum() else 1.0))
        return pieces

    def _credible(self, request: Request, decoded: Decoded) -> str:
        """The text of a decode, if it can be believed."""
        text = self._whisper.text(decoded.tokens)
        known = bool(request.prefix)
        return text if credible(text, decoded, request.voiced, after_text=known) else ""

    def _judge(
        self, heard: Any, settled: tuple[int, ...], decoded: Decoded, request: Request
    ) -> tuple[tuple[int, ...], After | None]:
        """Say what stands after a text; go on with one that was broken off.

        A search with several beams sometimes stops where there is no end in sight.
        """
        tokens = settled + decoded.tokens
        after_it = decoded.after or self._whisper.after(heard, tokens)
        bare = self._whisper.without_marks(tokens)
        if after_it is None or after_it.sentence > _BROKEN_OFF or len(bare) < len(settled):
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


def _cap(request: Request, prefix: str) -> int:
    """How many new tokens there may be."""
    known = 0 if prefix else len(request.prefix) // 2
    return _TOKENS_AT_LEAST + known + round(_TOKENS_PER_SECOND * request.voiced)
