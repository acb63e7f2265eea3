"""Whisper on CTranslate2: features in, words out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.speech.features import Features
from cartesia_ink_plugins.server.speech.weights import INSTALL

# Frames of 10 ms. Whisper was made for windows of 30 s; 15 s are less than half the work and as
# good, below 12 s it fails. It makes fewer errors when speech does not begin at once.
WINDOW_FRAMES = 1500
LEAD_FRAMES = 60
AUDIO_FRAMES = WINDOW_FRAMES - LEAD_FRAMES
# In 175 pauses of spoken turns, some in noise or through a telephone, five beams heard the same
# words as one beam to which no token was less probable than this.
_CERTAIN = 0.5


@dataclass(frozen=True, slots=True)
class After:
    """What stands after the last word of a text: chances, 0 to 1, that leave one for a word.

    Attributes:
        stop: A full stop or an exclamation mark.
        question: A question mark.
        comma: A comma.
        dots: Three dots, or a dash: the speaker breaks off.
        nothing: The end of the text, without a mark.
    """

    stop: float
    question: float
    comma: float
    dots: float
    nothing: float

    @property
    def sentence(self) -> float:
        """The chance, 0 to 1, that a sentence ends here.

        Nothing counts half: without a mark Whisper writes a phrase, such as "book a room", as well
        as the beginning of something.
        """
        return self.stop + self.question + 0.5 * self.nothing


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one decode heard.

    Attributes:
        tokens: The text as token ids, without the prefix that was given.
        confidence: Mean probability of a token, 0 to 1.
        no_speech: Chance, 0 to 1, that there is no speech at all.
        chances: Probability of each token; only of a decode with one beam.
        after: What stands after the last word; only of a decode with one beam.
    """

    tokens: tuple[int, ...]
    confidence: float
    no_speech: float
    chances: tuple[float, ...] = ()
    after: After | None = None

    @property
    def certain(self) -> bool:
        """Whether each token is so probable that a search with more beams finds no other words."""
        return bool(self.chances) and min(self.chances) >= _CERTAIN


class Whisper:
    """A Whisper model; thread-safe, decodes run beside each other."""

    __slots__ = (
        "_after",
        "_end",
        "_marks",
        "_model",
        "_previous",
        "_prompt",
        "_storage",
        "_tokenizer",
    )

    def __init__(self, folder: Path, *, parallel: int) -> None:
        """Load a CTranslate2 Whisper folder.

        Args:
            folder: With `model.bin`, `config.json`, `tokenizer.json`.
            parallel: How many decodes may run at once, each on one core.

        Raises:
            UsageError: A library is not installed, or the folder holds no Whisper model.
        """
        try:
            import ctranslate2
            import tokenizers
        except ImportError as error:
            raise UsageError(f"speech engine: {error.name} is not installed; {INSTALL}") from None
        try:
            self._model: Any = ctranslate2.models.Whisper(
                str(folder),
                device="cpu",
                compute_type="int8",
                inter_threads=parallel,
                intra_threads=1,
            )
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"whisper: {folder} cannot be loaded: {error}") from None
        self._storage: Any = ctranslate2.StorageView
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library has no class of its own for a damaged file
            raise UsageError(f"whisper: tokenizer.json cannot be loaded: {error}") from None
        special = ["<|startoftranscript|>"]
        if self._model.is_multilingual:
            special += ["<|en|>", "<|transcribe|>"]
        self._prompt = [self._id(token) for token in (*special, "<|notimestamps|>")]
        self._previous = self._id("<|startofprev|>")
        self._end = self._id("<|endoftext|>")
        self._marks = {self.tokens(mark)[0] for mark in (".", ",", "?", "!", "...")}
        self._after = [
            [self.tokens(mark)[0] for mark in marks]
            for marks in ((".", "!"), ("?",), (",",), ("...", "-", " -", " ..."))
        ]

    def encode(self, features: Features) -> Any:
        """Listen to features (`LogMel.whisper`), for what follows; most of the work.

        Returns:
            What the other methods take.
        """
        return self._model.encode(self._storage.from_array(features))

    def decode(
        self,
        heard: Any,
        *,
        prefix: tuple[int, ...] = (),
        context: tuple[int, ...] = (),
        max_tokens: int = 100,
        beams: int = 1,
    ) -> Decoded:
        """Write down what is said.

        Args:
            heard: From `encode`.
            prefix: Tokens the text is known to begin with.
            context: Tokens that were said or are expected before.
            max_tokens: Cap on the new tokens, against endless loops on noise.
            beams: How many texts are weighed against each other; with one it is known, too, how
                probable each token is.
        """
        result = self._model.generate(
            heard,
            [[*([self._previous, *context] if context else []), *self._prompt, *prefix]],
            beam_size=beams,
            # CTranslate2 halves this number, and counts the prefix.
            max_length=2 * (len(prefix) + max_tokens),
            # After a prefix it is quite possible that nothing follows.
            suppress_blank=not prefix,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=beams == 1,
        )[0]
        # The result repeats the prefix, whose tokens count as certain.
        tokens = [token for token in result.sequences_ids[0] if token < self._end]
        new = tokens[len(prefix) :]
        certainty = result.scores[0] * len(tokens) / max(1, len(new))
        decoded = Decoded(
            tuple(new), math.exp(certainty) if new else 0.0, float(result.no_speech_prob)
        )
        if beams > 1:
            return decoded
        rows = [_distribution(row) for row in result.logits[0][len(prefix) :]]
        chances = tuple(float(row[token]) for row, token in zip(rows, new, strict=False))
        last = len(self.without_marks(decoded.tokens))
        after = self._after_word(rows[last]) if 0 < last < len(rows) else None
        return replace(decoded, chances=chances, after=after)

    def after(self, heard: Any, tokens: tuple[int, ...]) -> After | None:
        """What stands after the last word of a text; None without words."""
        tokens = self.without_marks(tokens)
        if not tokens:
            return None
        result = self._model.generate(
            heard,
            [[*self._prompt, *tokens]],
            beam_size=1,
            max_length=2 * (len(tokens) + 1),
            suppress_blank=False,
            return_logits_vocab=True,
        )[0]
        return self._after_word(_distribution(result.logits[0][len(tokens)]))

    def _after_word(self, row: npt.NDArray[np.float32]) -> After:
        return After(*(float(row[marks].sum()) for marks in (*self._after, [self._end])))

    def without_marks(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """A text without the punctuation at its end."""
        last = len(tokens)
        while last and tokens[last - 1] in self._marks:
            last -= 1
        return tokens[:last]

    def word_times(self, heard: Any, tokens: tuple[int, ...], frames: int) -> list[int]:
        """When the tokens of a text are over.

        Args:
            heard: From `encode`.
            tokens: The text.
            frames: How many frames are audio, not padding.

        Returns:
            For each token the frame (10 ms) at which it ends.
        """
        result = self._model.align(heard, self._prompt, [list(tokens)], frames)[0]
        ends = [0] * len(tokens)
        for token, time in result.alignments:
            if token < len(tokens):
                ends[token] = 2 * (time + 1)
        return ends

    def text(self, tokens: tuple[int, ...] | list[int]) -> str:
        """The text of tokens, verbatim: words begin with a space."""
        return str(self._tokenizer.decode(list(tokens)))

    def first(self, tokens: tuple[int, ...], characters: int) -> tuple[int, ...]:
        """The tokens with which a text begins, for so many of its characters."""
        count = len(tokens)
        while count and len(self.text(tokens[: count - 1])) >= characters:
            count -= 1
        return tokens[:count]

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise UsageError(f"whisper: the tokenizer has no {token}")
        return int(number)


def _distribution(logits: Any) -> npt.NDArray[np.float32]:
    """The probability of every token of the vocabulary."""
    row = np.asarray(logits, np.float32).reshape(-1)
    row = np.exp(row - row.max())
    result: npt.NDArray[np.float32] = row / row.sum()
    return result
