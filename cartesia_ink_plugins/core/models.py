"""What depends on the name of a model: one row a model.

An unknown model gets the row that permits everything; whether it exists is for the server to say.
Models: https://docs.cartesia.ai/build-with-cartesia/stt-models
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """What a model can do.

    Attributes:
        name: As in the API; a dated snapshot, `NAME-2026-05-01`, is the same model.
        has_turns: Whether it is served by `/stt/turns/websocket`.
        has_keyterms: Whether it takes keyterms.
        has_silence_options: Whether it takes `min_volume` and `max_silence_duration_secs`.
        has_word_times: Whether its transcripts have words with times.
        language: The only language that it recognizes; None for several, or unknown.
    """

    name: str
    has_turns: bool = True
    has_keyterms: bool = True
    has_silence_options: bool = True
    has_word_times: bool = False
    language: str | None = None


INK_2 = Model("ink-2", has_silence_options=False, language="en")
INK_PREVIEW = Model("ink-preview", has_silence_options=False)
INK_WHISPER = Model("ink-whisper", has_turns=False, has_keyterms=False, has_word_times=True)
MODELS = (INK_2, INK_PREVIEW, INK_WHISPER)


def model_named(name: str) -> Model:
    """Return the row of a model, or one that permits everything."""
    for model in MODELS:
        if name == model.name or name.startswith(f"{model.name}-"):
            return model
    return Model(name)


def model_for_language(language: str | None) -> Model:
    """Return the model to use when only the language is known."""
    return INK_2 if language in (None, INK_2.language) else INK_WHISPER
