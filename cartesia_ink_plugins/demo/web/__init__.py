"""A page to talk to a bot, as one file: served beside the routes of Pipecat's runner.

The page needs nothing from the internet. It calls the bot with WebRTC (`POST /api/offer`, as every
client of Pipecat's small WebRTC transport does) and shows what `PageReporter` tells it. The lines
of the recorded caller come with it, for those who have no microphone.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from cartesia_ink_plugins.demo.caller import LINES

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
        if name not in {line.name for line in LINES}:
            raise HTTPException(404)
        audio = files("cartesia_ink_plugins.demo.caller").joinpath(f"{name}.wav").read_bytes()
        return Response(audio, media_type="audio/wav")

    app.get("/", include_in_schema=False)(show_page)
    app.get("/caller", include_in_schema=False)(list_lines)
    app.get("/caller/{name}.wav", include_in_schema=False)(play_line)
