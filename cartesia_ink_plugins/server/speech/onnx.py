"""The two small models: Silero VAD (is this speech?) and smart-turn (is the speaker done?)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.speech.features import SAMPLE_RATE, Features
from cartesia_ink_plugins.server.speech.weights import INSTALL

VAD_SAMPLES = 512
VAD_SECONDS = VAD_SAMPLES / SAMPLE_RATE
SMART_TURN_FRAMES = 800

_CONTEXT = 64
# Long noise wears the recurrent state out: speech that follows is heard late or not at all. A reset
# clears it; but a fresh state is less sure of the next words, so a pause must not cause one.
_RESET_CHANCE = 0.1
_RESET_AFTER = round(6.0 / VAD_SECONDS)


class Voice:
    """Silero VAD for one stream."""

    __slots__ = ("_context", "_quiet", "_session", "_state")

    def __init__(self, session: Any) -> None:
        """Begin a stream.

        Args:
            session: An ONNX session of Silero VAD; it is stateless, so streams may share it.
        """
        self._session = session
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._quiet = 0

    def __call__(self, samples: Samples) -> float:
        """The chance, 0 to 1, that the next 32 ms (512 samples at 16 kHz) are speech."""
        heard = np.concatenate((self._context, samples))
        chance, self._state = self._session.run(
            None,
            {"input": heard[None], "state": self._state, "sr": np.array(SAMPLE_RATE, np.int64)},
        )
        self._context = heard[-_CONTEXT:]
        result = float(chance[0, 0])
        self._quiet = self._quiet + 1 if result < _RESET_CHANCE else 0
        if self._quiet >= _RESET_AFTER:
            self._forget()
        return result

    def _forget(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._quiet = 0


class SmartTurn:
    """smart-turn version 3; thread-safe."""

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        """Use an ONNX session of smart-turn."""
        self._session = session

    def __call__(self, features: Features) -> float:
        """The chance, 0 to 1, that the turn is complete.

        Args:
            features: 8 seconds that stop in a pause: `LogMel.smart_turn(..., SMART_TURN_FRAMES)`.
        """
        return float(self._session.run(None, {"input_features": features})[0][0, 0])


def onnx_session(file: Path) -> Any:
    """Load an ONNX model, to run on the calling thread only.

    Raises:
        UsageError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(f"speech engine: onnxruntime is not installed; {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(file), sess_options=options, providers=["CPUExecutionProvider"]
    )
