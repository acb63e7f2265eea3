"""Send another agent when one was lost: `python examples/livekit_redispatch.py`.

LiveKit gives a call to a worker once. When that worker is killed, the caller stays in the room and
nobody comes, unless somebody asks for another agent: this receiver of LiveKit's webhooks does.

The servers' configuration must name it: `webhook: {api_key: ..., urls: [http://HOST:8090/]}`.
LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET say which server to ask.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    # Until it listens, Ctrl-C ends the program at once: the imports take some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from aiohttp import web
from livekit import api

# An agent that leaves has ended the call; a lost one has another disconnect reason.
ON_PURPOSE = {api.DisconnectReason.CLIENT_INITIATED, api.DisconnectReason.ROOM_DELETED}


def is_lost_agent(event: api.WebhookEvent) -> bool:
    """Whether an agent was lost instead of leaving."""
    left = event.event == "participant_left"
    is_agent = event.participant.kind == api.ParticipantInfo.AGENT
    return left and is_agent and event.participant.disconnect_reason not in ON_PURPOSE


async def receive(request: web.Request) -> web.Response:
    """Handle a webhook; one without our signature is rejected."""
    receiver = api.WebhookReceiver(api.TokenVerifier())
    try:
        event = receiver.receive(await request.text(), request.headers.get("Authorization", ""))
    except Exception:
        return web.Response(status=401)
    if is_lost_agent(event):
        async with api.LiveKitAPI() as livekit:
            rooms = await livekit.room.list_rooms(api.ListRoomsRequest(names=[event.room.name]))
            if any(room.num_participants for room in rooms.rooms):
                again = api.CreateAgentDispatchRequest(room=event.room.name)
                await livekit.agent_dispatch.create_dispatch(again)
    return web.Response()


def main() -> None:
    """Listen."""
    app = web.Application()
    app.router.add_post("/", receive)
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8090"))
    web.run_app(app, host=host, port=port)
    sys.exit(130)  # returns only after Ctrl-C, or SIGTERM


if __name__ == "__main__":
    main()
