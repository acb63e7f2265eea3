"""Everything that depends on the name of a model or on a language; nobody else tests names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.models import (
    INK_2,
    INK_PREVIEW,
    INK_WHISPER,
    MODELS,
    Model,
    model_for_language,
    model_named,
)
from cartesia_ink_plugins.core.options import ManualOptions, TurnsOptions

# One row a model: its name, and whether it has turns, keyterms, silence options and word times,
# and its only language. https://docs.cartesia.ai/build-with-cartesia/stt-models
WHOLE_TABLE = [
    ("ink-2", True, True, False, False, "en"),
    ("ink-preview", True, True, False, False, None),
    ("ink-whisper", False, False, True, True, None),
]
SNAPSHOTS = ["ink-2-2026-05-01", "ink-preview-2026-05-01", "ink-whisper-2025-06-04"]
UNKNOWN = ["ink-3", "ink-20", "ink", "my-own-model", "INK-2", "ink-whisperer"]
NAMED = pytest.mark.parametrize("name", [model.name for model in MODELS] + SNAPSHOTS)


def options_of(kind: type[TurnsOptions | ManualOptions], **arguments: Any) -> Any:
    """Options with arguments whose types do not matter."""
    return kind(**arguments)


class TestTable:
    def test_every_row_is_written_down_here(self) -> None:
        assert [
            (
                model.name,
                model.has_turns,
                model.has_keyterms,
                model.has_silence_options,
                model.has_word_times,
                model.language,
            )
            for model in MODELS
        ] == WHOLE_TABLE

    @NAMED
    def test_a_dated_snapshot_is_the_same_model(self, name: str) -> None:
        model = model_named(name)
        assert model in MODELS
        assert name.startswith(model.name)

    @pytest.mark.parametrize("name", UNKNOWN)
    def test_an_unknown_model_may_do_everything_that_can_be_asked_for(self, name: str) -> None:
        model = model_named(name)
        assert model not in MODELS
        assert model == Model(name)
        assert model.has_turns
        assert model.has_keyterms
        assert model.has_silence_options
        assert model.language is None

    @pytest.mark.parametrize(
        ("language", "model"),
        [(None, INK_2), ("en", INK_2), ("de", INK_WHISPER), ("tlh", INK_WHISPER)],
    )
    def test_the_model_to_use_when_only_the_language_is_known(
        self, language: str | None, model: Model
    ) -> None:
        assert model_for_language(language) is model

    def test_both_endpoints_use_the_same_model_by_default(self) -> None:
        assert TurnsOptions().model == ManualOptions().model == INK_2.name
        assert model_named(TurnsOptions().model) is INK_2


class TestTurns:
    @pytest.mark.parametrize("name", [INK_2.name, INK_PREVIEW.name, *SNAPSHOTS[:2], *UNKNOWN])
    def test_every_model_but_whisper_passes(self, name: str) -> None:
        assert f"model={name}&" in TurnsOptions(model=name, keyterms=["Cartesia"]).url()

    @pytest.mark.parametrize("name", ["ink-whisper", "ink-whisper-2025-06-04"])
    def test_whisper_has_no_turn_detection(self, name: str) -> None:
        with pytest.raises(UsageError, match=rf"^model: '{name}' .*'ink-2'"):
            TurnsOptions(model=name)


class TestManual:
    @NAMED
    @pytest.mark.parametrize(
        ("language", "code"),
        [(None, None), ("en", "en"), ("de", "de"), ("yue", "yue"), ("zz", "zz"), ("en-US", "en")],
    )
    def test_every_language_passes_with_every_model(
        self, name: str, language: str | None, code: str | None
    ) -> None:
        assert ManualOptions(model=name, language=language).language == code

    @pytest.mark.parametrize("name", UNKNOWN)
    @pytest.mark.parametrize("language", [None, "de"])
    def test_an_unknown_model_passes_with_everything(self, name: str, language: str | None) -> None:
        options = ManualOptions(
            model=name,
            language=language,
            keyterms=["Cartesia"],
            min_volume=0.1,
            max_silence_duration_secs=1.0,
        )
        assert f"model={name}&" in options.url()

    @pytest.mark.parametrize("name", ["ink-whisper", "ink-whisper-2025-06-04"])
    def test_whisper_takes_no_keyterms(self, name: str) -> None:
        with pytest.raises(UsageError, match=rf"^keyterms: '{name}' takes none; use 'ink-2'"):
            ManualOptions(model=name, keyterms=["Cartesia"])
        options = ManualOptions(model=name, min_volume=0.1, max_silence_duration_secs=1.0)
        assert options.url().endswith("&min_volume=0.1&max_silence_duration_secs=1")

    @pytest.mark.parametrize("name", ["ink-2", "ink-preview", *SNAPSHOTS[:2]])
    @pytest.mark.parametrize("argument", ["min_volume", "max_silence_duration_secs"])
    def test_silence_options_are_for_whisper_only(self, name: str, argument: str) -> None:
        with pytest.raises(UsageError, match=rf"{argument}.*'{name}'.*use 'ink-whisper'"):
            options_of(ManualOptions, model=name, **{argument: 0.5})
        assert ManualOptions(model=name, keyterms=["Cartesia"]).keyterms == ("Cartesia",)

    @pytest.mark.parametrize("keyterms", [(), []])
    def test_no_keyterms_pass_with_whisper(self, keyterms: Sequence[str]) -> None:
        assert ManualOptions(model="ink-whisper", keyterms=keyterms).keyterms == ()


@pytest.mark.parametrize("kind", [TurnsOptions, ManualOptions])
def test_a_model_has_to_be_named(kind: type[TurnsOptions | ManualOptions]) -> None:
    with pytest.raises(UsageError, match=r"^model: '' is no name; use 'ink-2'"):
        kind(model="")
