"""Recordings with planted events, written as docs/recording.md says, with real speech in them."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np

from cartesia_ink_plugins.demo import caller

RATE = 16_000  # Hz
EPOCH = 1_795_856_400.0
THRESHOLDS = {
    "turn_start_threshold": 0.8,
    "turn_eager_end_threshold": 0.6,
    "turn_end_threshold": 0.3,
}


class Planted:
    """A recording that is written line by line."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.connection = self.turn = 0
        self.sound: np.ndarray[Any, np.dtype[np.int16]] | None = None

    def line(self, t: float, kind: str, **fields: Any) -> None:
        head = {"t": t, "kind": kind, "session": 1}
        self.lines.append({**head, "connection": self.connection, "turn": self.turn, **fields})

    def event(self, t: float, event: str, **fields: Any) -> None:
        self.line(t, "event", event=event, **fields)

    def start(self, **options: Any) -> None:
        self.line(0.0, "started", session_id="a", options={"model": "ink-2", **options})
        self.line(0.0, "audio", position=0.0, at=0.0)
        self.open(0.05)

    def open(self, t: float) -> None:
        self.line(t, "connecting")
        self.connection += 1
        self.line(t, "opened", request_id=f"request-{self.connection}")

    def bot(self, start: float, end: float) -> None:
        self.line(start, "bot_started")
        self.line(end, "bot_stopped")

    def simple_turn(self, t: float, text: str, *, reply: float | None = 1.0) -> None:
        """A turn of 2 s; the bot replies so many seconds after its speech, if at all."""
        self.turn += 1
        self.event(t, "turn.start", speech_start=t - 0.2)
        self.event(t + 1, "turn.update", transcript=text[: len(text) // 2])
        self.event(t + 2, "turn.end", transcript=text, speech_start=t - 0.2, speech_end=t + 1.5)
        if reply is not None:
            self.line(t + 2.01, "llm_started")
            self.line(t + 2.1, "llm_output")
            self.line(t + 2.2, "tts_output")
            self.bot(t + 1.5 + reply, t + 3.5 + reply)

    def speak(self, seconds: float) -> None:
        """Put the recorded caller on the first channel, and his voice, later, on the second."""
        voice = np.frombuffer(caller.recording(caller.LINES[0]), np.int16)
        size = int(seconds * RATE)
        self.sound = np.stack([np.resize(voice, size), np.roll(np.resize(voice, size), RATE)], 1)
        # The bot is silent half of the time.
        self.sound[:, 1] *= (np.arange(size) // (5 * RATE) % 2).astype(np.int16)

    def write(self, path: Path, *, flac: bool = False, **meta: Any) -> Path:
        """Write the folder of a recording."""
        path.mkdir()
        self.lines.sort(key=lambda line: line["t"])
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        (path / "session.jsonl").write_text(text)
        said: dict[str, Any] = {
            "format": 1,
            "epoch": EPOCH,
            "options": {},
            "versions": {"cartesia-ink-plugins": "0.1.0"},
            "text": "full",
            "is_complete": True,
            **meta,
        }
        if self.sound is not None:
            name = "heard.flac" if flac else "heard.wav"
            said |= {"audio": name, "sample_rate": RATE, "audio_start": 0.0}
        if self.sound is not None and flac:
            import soundfile

            soundfile.write(path / "heard.flac", self.sound, RATE)
        elif self.sound is not None:
            with wave.open(str(path / "heard.wav"), "wb") as file:
                file.setnchannels(2)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(self.sound.tobytes())
        (path / "meta.json").write_text(json.dumps(said))
        return path


def eventful_call() -> Planted:
    """A call of half a minute in which everything happens that a timeline shows."""
    call = Planted()
    call.start(**THRESHOLDS)
    call.bot(0.5, 2.0)
    call.turn = 1  # a withdrawn and a kept reply
    call.event(3.0, "turn.start", speech_start=2.8)
    call.event(4.5, "turn.eager_end", transcript="Hello", speech_end=4.2)
    call.line(4.55, "speculation_began")
    call.line(4.55, "llm_started")
    call.event(4.8, "turn.resume")
    call.line(
        4.8, "speculation_ended", outcome="withdrawn", lead=0.3, prompt_tokens=120,
        completion_tokens=5,
    )  # fmt: skip
    call.event(6.0, "turn.eager_end", transcript="Hello <there>", speech_end=5.6)
    call.line(6.0, "speculation_began")
    call.line(6.0, "llm_started")
    call.line(6.3, "llm_output")
    call.event(6.4, "turn.end", transcript="Hello <there>", speech_start=2.8, speech_end=5.6)
    call.line(6.4, "speculation_ended", outcome="kept", lead=0.4, prompt_tokens=125)
    call.line(6.5, "tts_output")
    call.bot(6.6, 8.1)
    call.turn = 2  # interrupts the bot; the connection is lost in the middle of it
    call.line(8.0, "interruption")
    call.event(8.0, "turn.start", speech_start=7.9)
    call.line(9.0, "lost", event="disconnected", reason="closed with 1006", code=1006, retry_in=0.0)
    call.open(9.3)
    call.line(9.3, "replay_began", start=7.6, end=9.2, seconds=1.6)
    call.line(10.1, "replay_ended", start=7.6, end=9.2, seconds=1.6)
    call.event(11.1, "turn.end", transcript=" a table for two", speech_end=10.0)
    call.line(11.12, "llm_started")
    call.line(11.7, "llm_output")
    call.line(11.9, "tts_output")
    call.bot(11.9, 14.0)
    call.line(15.0, "settings", options={**THRESHOLDS, "turn_end_threshold": 0.1})
    call.line(16.0, "lost", event="connect_failed", reason="refused with 503", retry_in=0.25)
    call.line(16.3, "silence", start=16.3, end=16.3, seconds=0.1)
    call.line(16.6, "silence", start=16.3, end=16.3, seconds=0.1)
    call.line(17.0, "gap", position=15.5, seconds=1.2)
    call.event(17.5, "error", status=500, message="overloaded")
    call.simple_turn(18.0, " at eight", reply=0.8)
    call.simple_turn(23.0, "", reply=None)
    call.turn += 1
    call.event(28.0, "turn.start")
    call.event(28.5, "turn.update", transcript=" and")
    call.line(30.0, "finished")
    return call


def long_call(minutes: float) -> Planted:
    """A call with a turn every six seconds."""
    call = Planted()
    call.start(**THRESHOLDS)
    for number in range(int(minutes * 10)):
        at = 6.0 * number + 1
        call.simple_turn(at, f" turn {number} with some words in it", reply=0.7 + number % 7 / 10)
    call.line(minutes * 60, "finished")
    call.speak(minutes * 60)
    return call
