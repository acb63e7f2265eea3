"""`examples/twilio_bot.py`, called by a client that speaks Twilio's media streams.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.demo.caller import LINES, SAMPLE_RATE, recording
from cartesia_ink_plugins.demo.voice import resample
from cartesia_ink_plugins.testing import InkServer
from tests.e2e.bots import RunningBot, run_example, running_bot
from tests.e2e.browser.prompter import Prompter

STREAM = "MZ00000000000000000000000000000000"
CALL = "CA00000000000000000000000000000000"
MULAW = AudioFormat(Encoding.PCM_MULAW, 8_000)
CHUNK = 160  # 20 ms
SILENCE = b"\xff" * CHUNK
TOKEN = "0123456789abcdef0123456789abcdef"
SIGNED = {"TWILIO_AUTH_TOKEN": TOKEN}


@dataclass
class Twilio:
    """Twilio's end of a media stream, in real time.

    Attributes:
        socket: To the bot.
        playing: The bot's audio that has arrived and was not cleared.
        cleared: How often the bot has cleared what it had not said yet.
        sent: The caller's audio.
    """

    socket: ClientConnection
    playing: bytearray = field(default_factory=bytearray)
    cleared: int = 0
    sent: bytearray = field(default_factory=bytearray)
    _number: int = 1

    async def tell(self, event: str, **fields: Any) -> None:
        self._number += 1
        message = {"event": event, "sequenceNumber": str(self._number), "streamSid": STREAM}
        await self.socket.send(json.dumps({**message, **fields}))

    async def listen(self) -> None:
        """Take what the bot sends, and answer its marks as Twilio does."""
        async for text in self.socket:
            message = json.loads(text)
            assert message["streamSid"] == STREAM
            match message["event"]:
                case "media":
                    self.playing += base64.b64decode(message["media"]["payload"])
                case "clear":
                    self.cleared += 1
                    self.playing.clear()
                case "mark":
                    await self.tell("mark", mark=message["mark"])

    async def say(self, audio: bytes) -> None:
        """Stream the caller's audio, 20 ms at a time, and silence where there is less."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for tick, start in enumerate(range(0, len(audio), CHUNK), 1):
            chunk = audio[start : start + CHUNK].ljust(CHUNK, b"\xff")
            self.sent += chunk
            payload = base64.b64encode(chunk).decode()
            await self.tell("media", media={"track": "inbound", "payload": payload})
            await asyncio.sleep(max(0.0, began + tick * 0.02 - loop.time()))

    async def listens(self, until: str, timeout: float = 60.0) -> None:
        """Stream silence until the bot is heard, or is heard no more."""
        async with asyncio.timeout(timeout):
            heard = len(self.playing)
            while True:
                await self.say(SILENCE * 25)
                more = len(self.playing) > heard
                heard = len(self.playing)
                if more == (until == "voice"):
                    return


def signature(url: str, token: str = TOKEN) -> str:
    """Twilio's signature of a stream; only its public name is known to Twilio, so `wss`."""
    signed = hmac.digest(token.encode(), url.encode(), "sha1")
    return base64.b64encode(signed).decode()


@asynccontextmanager
async def telephone_call(url: str, *, token: str = TOKEN) -> AsyncIterator[Twilio]:
    _, _, host = url.rpartition("/")
    headers = {"X-Twilio-Signature": signature(f"wss://{host}/ws", token)}
    async with connect(f"ws://{host}/ws", additional_headers=headers) as socket:
        twilio = Twilio(socket)
        await socket.send(
            json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        )
        form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {
            "accountSid": "AC0",
            "streamSid": STREAM,
            "callSid": CALL,
            "tracks": ["inbound"],
            "mediaFormat": form,
            "customParameters": {},
        }
        await socket.send(
            json.dumps(
                {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": STREAM}
            )
        )
        listening = asyncio.create_task(twilio.listen())
        try:
            yield twilio
            await twilio.tell("stop", stop={"accountSid": "AC0", "callSid": CALL})
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def by_telephone(name: str) -> bytes:
    """A line of the recorded caller as it comes over a telephone."""
    line = next(line for line in LINES if line.name == name)
    samples = AudioFormat(Encoding.PCM_S16LE, SAMPLE_RATE).decode(recording(line))
    return MULAW.encode(resample(samples, SAMPLE_RATE, 8_000))


async def closes(url: str, **headers: str) -> int | None:
    """The code with which a connection is closed."""
    async with connect(url, additional_headers=headers) as socket:
        await socket.wait_closed()
        return socket.close_code


async def strangers_are_refused(bot: RunningBot) -> None:
    """Whoever is not Twilio is told so, whatever is wrong with the signature."""
    _, _, host = bot.url.rpartition("/")
    url = f"ws://{host}/ws"
    for name, value in {
        "nothing": "",
        "X-Twilio-Signature": "",
        "x-twilio-signature": signature(f"wss://{host}/ws", "another account's"),
        "X-TWILIO-SIGNATURE": signature(f"wss://{host}/other"),
        "X-Twilio-signature": "\xe9",
    }.items():
        assert await closes(url, **{name: value}) == 1008, (name, value)


async def test_strangers_cost_nothing_and_a_caller_is_greeted_heard_and_can_interrupt() -> None:
    """Ink gets the very bytes that Twilio sends, and an interruption clears Twilio's buffer."""
    ink = Prompter()
    async with InkServer(ink) as server:
        environment = {"CARTESIA_BASE_URL": server.url, "CARTESIA_API_KEY": "any", **SIGNED}
        async with running_bot("twilio_bot.py", transport="twilio", environment=environment) as bot:
            await strangers_are_refused(bot)
            async with telephone_call(bot.url) as twilio:
                await twilio.listens("voice")
                await twilio.listens("silence")
                await twilio.say(by_telephone("1_date"))
                words = "A table for next Friday, please."
                ink.hears(TurnStart(), TurnUpdate(words), TurnEagerEnd(words), TurnEnd(words))
                await twilio.listens("voice")
                cleared = twilio.cleared
                ink.hears(TurnStart(), TurnUpdate("Wait"))
                await twilio.listens("silence")
                assert twilio.cleared > cleared
                ink.hears(TurnEagerEnd("Wait, for six people."), TurnEnd("Wait, for six people."))
                await twilio.listens("voice")
        [record] = server.connections  # strangers have none
    assert {("encoding", "pcm_mulaw"), ("sample_rate", "8000")} <= set(record.query)
    # μ-law has two zeros, which sound the same.
    sent, heard = (audio.replace(b"\x7f", b"\xff") for audio in (bytes(twilio.sent), ink.audio))
    assert heard in sent
    assert len(heard) > 0.9 * len(sent)


async def test_with_no_key_the_telephone_is_answered_and_anybody_may_be_let_in() -> None:
    unsigned = {"ALLOW_UNSIGNED": "1"}
    async with (
        running_bot("twilio_bot.py", transport="twilio", environment=unsigned) as bot,
        telephone_call(bot.url, token="unknown") as twilio,
    ):
        await twilio.listens("voice")
        await twilio.listens("silence")
        await twilio.say(by_telephone("1_date"))
        await twilio.listens("voice")


async def test_without_a_token_it_does_not_begin() -> None:
    status, said = await run_example("twilio_bot.py")
    assert status == 2
    assert (
        said.splitlines()[-1]
        == "TWILIO_AUTH_TOKEN: not set; to let anybody in, set ALLOW_UNSIGNED=1"
    )
