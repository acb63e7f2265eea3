"""A web page to talk to a bot, in one file, served beside the routes of Pipecat's runner.

The page loads nothing from the internet. It connects with WebRTC (`POST /api/offer`, as every
client of Pipecat's small WebRTC transport) and shows the events of `PageReporter`. The lines of the
recorded caller are included, for use without a microphone.
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
    """Return the page, with its style and script."""
    return files(__package__).joinpath("index.html").read_text(encoding="utf-8")


def serve_page(app: FastAPI) -> None:
    """Add the page at `/`, and the recorded caller's lines at `/caller`.

    Args:
        app: The application; call this before the runner adds its routes, as the first match wins.
    """
    from fastapi import HTTPException, Response

    # Without annotations, as FastAPI could not resolve the local imports.
    def show_page():  # type: ignore[no-untyped-def]
        return Response(page(), media_type="text/html", headers={"Cache-Control": "no-cache"})

    def list_lines():  # type: ignore[no-untyped-def]
        return [{"name": line.name, "text": line.spoken_text} for line in LINES]

    def play_line(name):  # type: ignore[no-untyped-def]
        line = next((line for line in LINES if line.name == name), None)
        if line is None:
            raise HTTPException(404)
        return Response(_wav(recording(line)), media_type="audio/wav")

    app.get("/", include_in_schema=False)(show_page)
    app.get("/caller", include_in_schema=False)(list_lines)
    app.get("/caller/{name}.wav", include_in_schema=False)(play_line)


def _wav(pcm: bytes) -> bytes:
    """Return 16-bit mono audio as a WAV file; not every browser plays Ogg Opus."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm)
    return file.getvalue()
