"""What is believed of what Whisper writes: of noise, of loops, of the first words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cartesia_ink_plugins.server.speech.whisper import Decoded
from cartesia_ink_plugins.server.speech.words import split

MARKS = ".,?!-"
# Nobody says more words than this.
_WORDS_PER_SECOND = 4.5
# How probable a word must be, if another follows it and if none does, to be called sure.
_SURE, _SURE_AT_LAST = 0.4, 0.6
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


def without_loop(text: str, voiced: float) -> str:
    """A text without a phrase that it repeats at its end, if there was no time to say that.

    A search with several beams is prone to such loops: a repetition costs it nothing.

    Args:
        text: What was heard.
        voiced: Seconds of speech in it.
    """
    words = split(text)
    bare = [word.strip(MARKS + " ").lower() for word in words]
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
    return known.rstrip(MARKS) if text.startswith(known) else ""
