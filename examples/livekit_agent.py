"""A LiveKit agent that books tables: `python examples/livekit_agent.py dev`.

With no key it needs no network either: it hears through a local Ink server, thinks by rules and
speaks with an offline voice. With CARTESIA_API_KEY it hears with Ink and, if LiveKit's Cartesia
plugin is installed, speaks with Sonic.

LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET say which LiveKit server it works for; the
commands are LiveKit's own. `console` needs no LiveKit server: you speak with the agent in your
terminal, or write to it with `console --text`. `make livekit` starts all it takes for a real call.

Each call is recorded in calls/ (INK_RECORD names another folder), with a page of its timeline.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Until the agent runs, Ctrl-C ends the program at once: the imports take some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

try:
    from livekit.agents import AgentServer, AgentSession, JobContext, JobProcess, cli, tts
except ImportError as error:
    sys.exit(f"{error.name or error} is missing: pip install 'cartesia-ink-plugins[examples]'")

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.demo.livekit_services import BookingAgent, BookingLLM, OfflineTTS
from cartesia_ink_plugins.demo.livekit_start import offline_without_key
from cartesia_ink_plugins.demo.voice import Voice
from cartesia_ink_plugins.observe.timeline.files import write_page
from cartesia_ink_plugins.server.speech.process import ANY_KEY

# How many calls this worker takes: what the account's plan allows in streams, shared out among the
# workers. LiveKit gives a call to the worker with the lowest load and none to one that is full.
MAX_CALLS = int(os.environ.get("MAX_CALLS", "8"))
RECORDINGS = Path(os.environ.get("INK_RECORD", "calls"))


def load(server: AgentServer) -> float:
    """The part of this worker's Ink streams that is in use, 0 to 1."""
    return min(len(server.active_jobs) / MAX_CALLS, 1.0)


def prepare(process: JobProcess) -> None:
    """Load the offline voice before the call; each call has its own process."""
    if os.environ.get("CARTESIA_API_KEY") == ANY_KEY:
        process.userdata["voice"] = Voice.load_now()


server = AgentServer(
    setup_fnc=prepare,
    load_fnc=load,
    load_threshold=0.99,
    initialize_process_timeout=60.0,  # loading the offline voice is slow on a busy machine
)


@server.rtc_session()
async def answer(context: JobContext) -> None:
    """Answer a call."""
    recording = RECORDINGS / f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{context.job.id}.ink"
    session: AgentSession[None] = AgentSession(
        stt=ink.STT(record=recording),
        llm=BookingLLM(),  # replace it by your LLM
        tts=make_voice(context.proc),
        # The first word interrupts the agent; with a VAD, the VAD does.
        vad=None,
        turn_handling={"turn_detection": "stt"},
    )

    async def show() -> None:
        if page := await asyncio.to_thread(page_of, recording):
            print(f"What happened in this call: {page}", flush=True)

    context.add_shutdown_callback(show)
    await session.start(agent=BookingAgent(), room=context.room)


def page_of(recording: Path) -> Path | None:
    """Write the timeline of a call; None if nothing was recorded."""
    until = time.monotonic() + 5.0  # seconds; it is completed soon after the session
    while recording.is_dir() and time.monotonic() < until:
        time.sleep(0.05)
    return write_page(recording) if recording.exists() else None


def make_voice(process: JobProcess) -> tts.TTS[Any]:
    """Return the agent's voice: offline, or Cartesia's."""
    if "voice" in process.userdata:
        return OfflineTTS(process.userdata["voice"])
    from livekit.plugins import cartesia

    return cartesia.TTS()


if __name__ == "__main__":
    with offline_without_key():
        cli.run_app(server)
