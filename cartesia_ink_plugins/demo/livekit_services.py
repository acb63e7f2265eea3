"""The assistant and the voice as LiveKit LLM and TTS plugins, and the agent.

They need no key and no network. The LLM streams tokens, calls a function, can be cancelled, and
supports preemptive generation.
"""

from __future__ import annotations

import ast
import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    Agent,
    APIConnectOptions,
    RunContext,
    function_tool,
    llm,
    tts,
)

from cartesia_ink_plugins.demo.booking import (
    INSTRUCTIONS,
    BookingResult,
    Message,
    TextReply,
    ToolCall,
    UserMessage,
    follow,
    make_booking,
    tokens,
)
from cartesia_ink_plugins.demo.journal import CallEvent
from cartesia_ink_plugins.demo.reply_timing import ReplyTiming
from cartesia_ink_plugins.demo.voice import Speaker

Watch = Callable[[CallEvent, str], None]
"""Called with the events of a plugin, for the journal."""


class BookingAgent(Agent):
    """The agent of a restaurant, for the offline LLM and for a real one."""

    def __init__(self, **kwargs: Any) -> None:
        """Create the agent, with instructions for a real LLM.

        Args:
            **kwargs: Arguments of LiveKit's `Agent`.
        """
        super().__init__(instructions=INSTRUCTIONS, **kwargs)

    async def on_enter(self) -> None:
        """Greet the caller."""
        self.session.generate_reply()

    @function_tool()
    async def book_table(
        self, context: RunContext[Any], date: str, time: str, party_size: int, name: str
    ) -> dict[str, Any]:
        """Book a table in the restaurant.

        Args:
            context: Context of the run.
            date: The day, as YYYY-MM-DD.
            time: The time of day, as HH:MM on 24 hours.
            party_size: Number of people.
            name: Name of the guest.
        """
        facts = {"date": date, "time": time, "party_size": party_size, "name": name}
        self.booked(facts)
        return make_booking(facts)

    def booked(self, facts: dict[str, Any]) -> None:
        """Handle a booking; for subclasses.

        Args:
            facts: The arguments of the function call.
        """


class BookingLLM(llm.LLM[Any]):
    """The rule-based assistant as an LLM."""

    def __init__(
        self,
        *,
        timing: ReplyTiming | None = None,
        today: Callable[[], date] = date.today,
        watch: Watch | None = None,
    ) -> None:
        """Create the plugin.

        Args:
            timing: Simulated latency.
            today: Returns the day of the call.
            watch: Called when a reply is begun and when it is ready.
        """
        super().__init__()
        self.timing = timing or ReplyTiming()
        self.today = today
        self.watch: Watch = watch or (lambda happening, text: None)

    @property
    def model(self) -> str:
        """Name of the model, for metrics."""
        return "booking-rules"

    @property
    def provider(self) -> str:
        """Name of the provider, for metrics."""
        return "cartesia_ink_plugins.demo"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **kwargs: Any,
    ) -> llm.LLMStream:
        """Start a reply.

        Args:
            chat_ctx: The conversation so far.
            tools: Ignored; `book_table` is always called.
            conn_options: Ignored.
            **kwargs: Ignored.
        """
        return _Reply(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Reply(llm.LLMStream):
    def __init__(self, assistant: BookingLLM, **kwargs: Any) -> None:
        super().__init__(assistant, **kwargs)
        self._assistant = assistant

    async def _run(self) -> None:
        assistant = self._assistant
        messages = list(read_chat(self._chat_ctx.items))
        reply = follow(messages, assistant.today()).reply()
        assistant.watch(CallEvent.REPLY_BEGUN, _last_user_text(messages))
        await asyncio.sleep(assistant.timing.first_token)
        match reply:
            case TextReply(text):
                for token in tokens(text):
                    self._send(content=token)
                    await asyncio.sleep(assistant.timing.token)
                assistant.watch(CallEvent.REPLY_READY, text)
            case ToolCall(name, _):
                assistant.watch(CallEvent.REPLY_READY, f"{name}({reply.json})")
                call = llm.FunctionToolCall(
                    name=name, arguments=reply.json, call_id=uuid.uuid4().hex
                )
                self._send(tool_calls=[call])

    def _send(self, **fields: Any) -> None:
        delta = llm.ChoiceDelta(role="assistant", **fields)
        self._event_ch.send_nowait(llm.ChatChunk(id=str(id(self)), delta=delta))


class OfflineTTS(tts.TTS[Any]):
    """The offline voice as a TTS plugin."""

    def __init__(self, voice: Speaker, *, watch: Watch | None = None) -> None:
        """Create the plugin.

        Args:
            voice: A loaded voice.
            watch: Called when a sentence is synthesized.
        """
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=voice.sample_rate,
            num_channels=1,
        )
        self.voice = voice
        self.watch: Watch = watch or (lambda happening, text: None)

    @property
    def model(self) -> str:
        """Name of the model, for metrics."""
        return "piper-joe"

    @property
    def provider(self) -> str:
        """Name of the provider, for metrics."""
        return "cartesia_ink_plugins.demo"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Synthesize a text.

        Args:
            text: The text.
            conn_options: Ignored.
        """
        self.watch(CallEvent.SYNTHESIS, text)
        return _Speech(self, input_text=text, conn_options=conn_options)


class _Speech(tts.ChunkedStream):
    def __init__(self, speaker: OfflineTTS, **kwargs: Any) -> None:
        super().__init__(tts=speaker, **kwargs)
        self._voice = speaker.voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=uuid.uuid4().hex,
            sample_rate=self._voice.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
        )
        async for pcm in self._voice.speak(self._input_text):
            output_emitter.push(pcm)
        output_emitter.flush()


def read_chat(items: Iterable[llm.ChatItem]) -> Iterator[Message]:
    """Convert the items of a `ChatContext` to messages of the assistant."""
    for item in items:
        match item:
            case llm.ChatMessage(role="user"):
                yield UserMessage(item.text_content or "")
            case llm.FunctionCallOutput():
                if reference := _reference(item.output):
                    yield BookingResult(reference)


def _reference(output: str) -> str | None:
    """Return the reference in the result of a function call, which is a Python literal."""
    try:
        result = ast.literal_eval(output)
    except (ValueError, SyntaxError):
        return None
    return str(result["reference"]) if isinstance(result, dict) and "reference" in result else None


def _last_user_text(messages: list[Message]) -> str:
    return next((m.text for m in reversed(messages) if isinstance(m, UserMessage)), "")
