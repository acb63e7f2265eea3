"""A LiveKit agent that is talked to with a button: `python examples/push_to_talk_livekit.py dev`.

The button is the application's: it calls the RPC methods `start_turn` when it is pressed,
`end_turn` when it is let go, and `cancel_turn` to take words back. The turn is committed one round
trip after that: `ink.STT(endpoint="manual")` gives its final transcript when the session asks.

With no key it needs no network either, as `livekit_agent.py`, whose settings it takes.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

if __name__ == "__main__":
    # Until the agent runs, Ctrl-C ends the program at once: the imports take some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

try:
    from livekit import rtc
    from livekit.agents import AgentServer, AgentSession, JobContext, JobProcess, cli, tts
except ImportError as error:
    sys.exit(f"{error.name or error} is missing: pip install 'cartesia-ink-plugins[examples]'")

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.demo.livekit_services import BookingAgent, BookingLLM, OfflineTTS
from cartesia_ink_plugins.demo.livekit_start import offline_without_key
from cartesia_ink_plugins.demo.voice import Voice
from cartesia_ink_plugins.server.speech.process import ANY_KEY


def prepare(process: JobProcess) -> None:
    """Load the offline voice before the call."""
    if os.environ.get("CARTESIA_API_KEY") == ANY_KEY:
        process.userdata["voice"] = Voice.load_now()


# Loading the offline voice is slow on a busy machine.
server = AgentServer(setup_fnc=prepare, initialize_process_timeout=60.0)


@server.rtc_session()
async def answer(context: JobContext) -> None:
    """Answer a call."""
    session: AgentSession[None] = AgentSession(
        stt=ink.STT(endpoint="manual"),
        llm=BookingLLM(),  # replace it by your LLM
        tts=make_voice(context.proc),
        vad=None,
        turn_handling={"turn_detection": "manual"},
    )
    await session.start(agent=BookingAgent(), room=context.room)
    session.input.set_audio_enabled(False)  # the button is not pressed yet
    button = Button(session)
    for method in (button.start_turn, button.end_turn, button.cancel_turn):
        context.room.local_participant.register_rpc_method(method.__name__, method)


class Button:
    """The RPC methods of the button."""

    def __init__(self, session: AgentSession[None]) -> None:
        self.session = session

    async def start_turn(self, call: rtc.RpcInvocationData) -> str:
        """Handle a press: the agent stops speaking and listens."""
        await self.session.interrupt()
        self.session.clear_user_turn()
        self.session.input.set_audio_enabled(True)
        return ""

    async def end_turn(self, call: rtc.RpcInvocationData) -> str:
        """Handle a release: the agent answers. Returns the transcript."""
        self.session.input.set_audio_enabled(False)
        return await self.session.commit_user_turn()

    async def cancel_turn(self, call: rtc.RpcInvocationData) -> str:
        """Cancel the press: the speech is dropped."""
        self.session.input.set_audio_enabled(False)
        self.session.clear_user_turn()
        return ""


def make_voice(process: JobProcess) -> tts.TTS[Any]:
    """Return the agent's voice: offline, or Cartesia's."""
    if "voice" in process.userdata:
        return OfflineTTS(process.userdata["voice"])
    from livekit.plugins import cartesia

    return cartesia.TTS()


if __name__ == "__main__":
    with offline_without_key():
        cli.run_app(server)
