"""Hearing without a server: what the tests of scripts stand on."""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnUpdate
from cartesia_ink_plugins.core.wire import decode
from cartesia_ink_plugins.server.engine import Close, Outgoing, Raw, TurnThresholds
from cartesia_ink_plugins.server.script import Script

PCM16 = AudioFormat()


def hear(
    script: Script,
    pcm: bytes | None = None,
    audio: AudioFormat = PCM16,
    *,
    chunk: float = 0.05,
    thresholds: TurnThresholds | None = None,
) -> list[Outgoing]:
    """Everything an ear says to audio that comes in chunks of `chunk` seconds, then to a close."""
    out: list[Outgoing] = []
    ear = script.engine().open(audio, thresholds or TurnThresholds(), out.extend)
    pcm = script.audio(audio) if pcm is None else pcm
    size = max(1, audio.size(chunk))
    for start in range(0, len(pcm), size):
        ear.receive_audio(pcm[start : start + size])
    ear.flush()
    return out


def finals(messages: list[Outgoing]) -> list[str]:
    return [m.transcript for m in messages if isinstance(m, TurnEnd)]


def chart(messages: list[Outgoing]) -> list[str]:
    """Messages in short: `start`, `update Hello`, `eager_end Hello`, ..."""
    lines = []
    for message in messages:
        match message:
            case Raw(str() as text):
                lines.append(f"raw {decode(text).__class__.__name__}")
            case Raw(data):
                lines.append(f"raw {type(data).__name__}")
            case Close():
                lines.append(f"close {message.code}")
            case TurnUpdate() | TurnEagerEnd() | TurnEnd():
                lines.append(f"{message.type.removeprefix('turn.')} {message.transcript}")
            case _:
                lines.append(message.type.removeprefix("turn."))
    return lines


def timed(script: Script, chunk: float = 0.01) -> list[tuple[float, str]]:
    """Each message with the seconds of audio after which it came."""
    out: list[Outgoing] = []
    ear = script.engine().open(PCM16, TurnThresholds(), out.extend)
    pcm, size = script.audio(), PCM16.size(chunk)
    result: list[tuple[float, str]] = []
    for start in range(0, len(pcm), size):
        ear.receive_audio(pcm[start : start + size])
        position = PCM16.seconds(min(start + size, len(pcm)))
        result += [(round(position, 3), line) for line in chart(out)]
        out.clear()
    return result
