"""A page to talk to a bot, as one file: served beside the routes of Pipecat's runner.

The page needs nothing from the internet. It calls the bot with WebRTC (`POST /api/offer`, as every
client of Pipecat's small WebRTC transport does) and shows what `PageReporter` tells it. The lines
of the recorded caller come with it, for those who have no microphone.
"""

from __future__ import annotations

import io
import wave
from importlib.resources import files
from typing import TYPE_CHECKING

from cartesia_ink_plugins.demo.caller import LINES, SAMPLE_RATE, recording

if TYPE_CHECKING:
    from fastapi import FastAPI


def page() -> str:
    """The page, with all its style and script."""
    return files(__package__).joinpath("index.html").read_text(encoding="utf-8")


def serve_page(app: FastAPI) -> None:
    """Add the page at `/`, and the recorded caller's lines at `/caller`.

    Args:
        app: The application, before the runner adds routes of its own: the first route counts.
    """
    from fastapi import HTTPException, Response

    # No annotations that FastAPI would have to look up: the imports above are local.
    def show_page():  # type: ignore[no-untyped-def]
        return Response(page(), media_type="text/html", headers={"Cache-Control": "no-cache"})

    def list_lines():  # type: ignore[no-untyped-def]
        return [{"name": line.name, "text": line.words} for line in LINES]

    def play_line(name):  # type: ignore[no-untyped-def]
        line = next((line for line in LINES if line.name == name), None)
        if line is None:
            raise HTTPException(404)
        return Response(_wav(recording(line)), media_type="audio/wav")

    app.get("/", include_in_schema=False)(show_page)
    app.get("/caller", include_in_schema=False)(list_lines)
    app.get("/caller/{name}.wav", include_in_schema=False)(play_line)


def _wav(pcm: bytes) -> bytes:
    """16-bit mono audio as a WAV file: not every browser plays Opus in Ogg."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm)
    return file.getvalue()
