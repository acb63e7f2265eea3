"""The assistant and the voice as Pipecat LLM and TTS services.

They need no key and no network. The LLM service streams tokens, calls a function, can be
interrupted, and answers speculatively on an eager end of turn.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from datetime import date
from typing import Any

from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallParams, LLMService
from pipecat.services.settings import LLMSettings, TTSSettings
from pipecat.services.tts_service import TTSService

from cartesia_ink_plugins.demo.booking import (
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
"""Called with the events of a service, for the journal."""


async def book_table(
    params: FunctionCallParams, date: str, time: str, party_size: int, name: str
) -> None:
    """Book a table in the restaurant.

    Args:
        params: The function call.
        date: The day, as YYYY-MM-DD.
        time: The time of day, as HH:MM on 24 hours.
        party_size: Number of people.
        name: Name of the guest.
    """
    await params.result_callback(make_booking(params.arguments))


class BookingLLMService(LLMService):
    """The rule-based assistant as an LLM.

    Example::

        llm = BookingLLMService()
        context = LLMContext(tools=[book_table])
    """

    def __init__(
        self,
        *,
        timing: ReplyTiming | None = None,
        today: Callable[[], date] = date.today,
        watch: Watch | None = None,
        **kwargs: Any,
    ) -> None:
        """Create the service.

        Args:
            timing: Simulated latency.
            today: Returns the day of the call.
            watch: Called when a reply is begun and when it is ready.
            **kwargs: Arguments of Pipecat's `LLMService`.
        """
        settings = LLMSettings(
            model="booking-rules",
            system_instruction=None,
            temperature=None,
            max_tokens=None,
            top_p=None,
            top_k=None,
            frequency_penalty=None,
            presence_penalty=None,
            seed=None,
            filter_incomplete_user_turns=False,
            user_turn_completion_config=None,
        )
        super().__init__(settings=settings, **kwargs)
        self._timing = timing or ReplyTiming()
        self._today = today
        self._watch: Watch = watch or (lambda happening, text: None)

    def can_generate_metrics(self) -> bool:
        """Time to first token and processing time are measured as for any LLM."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context; pass everything else on.

        Args:
            frame: The frame.
            direction: Its direction.
        """
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await self.start_processing_metrics()
        try:
            await self._answer(frame.context)
        finally:
            await self.stop_processing_metrics()
            await self.push_frame(LLMFullResponseEndFrame())

    async def _answer(self, context: LLMContext) -> None:
        await self.start_ttfb_metrics()
        messages = list(read_chat(context.get_messages()))
        reply = follow(messages, self._today()).reply()
        self._watch(CallEvent.REPLY_BEGUN, _last_user_text(messages))
        await asyncio.sleep(self._timing.first_token)
        await self.stop_ttfb_metrics()
        match reply:
            case TextReply(text):
                for token in tokens(text):
                    await self._push_llm_text(token)
                    await asyncio.sleep(self._timing.token)
                self._watch(CallEvent.REPLY_READY, text)
            case ToolCall(name, arguments):
                self._watch(CallEvent.REPLY_READY, f"{name}({reply.json})")
                call = FunctionCallFromLLM(
                    function_name=name,
                    tool_call_id=str(uuid.uuid4()),
                    arguments=arguments,
                    context=context,
                )
                await self.run_function_calls([call])


class OfflineTTSService(TTSService):
    """The offline voice as a TTS service, at the voice's own sample rate.

    Example::

        tts = OfflineTTSService(await Voice.load(24_000))
    """

    def __init__(self, voice: Speaker, *, watch: Watch | None = None, **kwargs: Any) -> None:
        """Create the service.

        Args:
            voice: A loaded voice.
            watch: Called when a sentence is synthesized.
            **kwargs: Arguments of Pipecat's `TTSService`.
        """
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            sample_rate=voice.sample_rate,
            settings=TTSSettings(model="piper", voice="joe", language=None),
            **kwargs,
        )
        self._voice = voice
        self._watch: Watch = watch or (lambda happening, text: None)

    def can_generate_metrics(self) -> bool:
        """Time to first audio and usage are measured as for any TTS service."""
        return True

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Synthesize a text.

        Args:
            text: The text.
            context_id: Id of the reply.

        Yields:
            A frame of audio for each sentence.
        """
        self._watch(CallEvent.SYNTHESIS, text)
        await self.start_tts_usage_metrics(text)
        async for pcm in self._voice.speak(text):
            await self.stop_ttfb_metrics()
            yield TTSAudioRawFrame(pcm, self._voice.sample_rate, 1, context_id=context_id)


def read_chat(messages: Iterable[Any]) -> Iterator[Message]:
    """Convert the messages of an `LLMContext` to messages of the assistant."""
    for message in messages:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        match message.get("role"):
            case "user":
                yield UserMessage(str(content))
            case "tool":
                if reference := _reference(str(content)):
                    yield BookingResult(reference)


def _reference(result: str) -> str | None:
    """Return the reference in the result of a function call; None without a result."""
    try:
        fields = json.loads(result)
    except ValueError:
        return None
    return str(fields["reference"]) if isinstance(fields, dict) and "reference" in fields else None


def _last_user_text(messages: list[Message]) -> str:
    return next((m.text for m in reversed(messages) if isinstance(m, UserMessage)), "")
