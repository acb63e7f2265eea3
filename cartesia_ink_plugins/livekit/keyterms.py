"""The keyterms of a stream: the user's own, then the session's, as many as the API takes."""

from __future__ import annotations

from collections.abc import Sequence

from cartesia_ink_plugins.core.validation import MAX_KEYTERM_CHARACTERS, MAX_KEYTERMS
from cartesia_ink_plugins.livekit.log import logger


def merge_keyterms(own: Sequence[str], session: Sequence[str]) -> tuple[str, ...]:
    """Join the user's keyterms and those that the session manages, without repeats.

    The session's terms grow by themselves in a call, so what is over the API's limit is left out
    with a warning instead of an error that would end the call.

    Args:
        own: From the constructor or `update_options`; always kept.
        session: Static terms of the session and those its detector found, oldest first.
    """
    merged = list(dict.fromkeys(own))
    characters = sum(map(len, merged))
    left_out = 0
    for term in dict.fromkeys(term for term in session if term.strip()):
        if term in merged:
            continue
        if len(merged) >= MAX_KEYTERMS or characters + len(term) > MAX_KEYTERM_CHARACTERS:
            left_out += 1
            continue
        merged.append(term)
        characters += len(term)
    if left_out:
        logger.warning(
            "left %d session keyterms out: the API takes at most %d terms and %d characters",
            left_out,
            MAX_KEYTERMS,
            MAX_KEYTERM_CHARACTERS,
        )
    return tuple(merged)
