"""A traced session with an LLM that tells how many tokens it used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, llm
from livekit.agents.telemetry import set_tracer_provider
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cartesia_ink_plugins.observe.telemetry.tap import flush
from tests.livekit.harness import Llm


@contextmanager
def traced() -> Iterator[InMemorySpanExporter]:
    """Trace as LiveKit's documentation says; nothing of it is about us."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_tracer_provider(provider)
    try:
        yield exporter
    finally:
        set_tracer_provider(trace.get_tracer_provider())


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The spans whose name begins so, in the order in which they began."""
    assert flush(30.0)
    spans = [span for span in exporter.get_finished_spans() if span.name.startswith(name)]
    return sorted(spans, key=lambda span: span.start_time or 0)


Tells: TypeAlias = Literal["first", "last", "last of all", "never"]


class CountingLlm(Llm):
    """Counts its tokens: one for four characters that it reads, and some that it writes."""

    def __init__(
        self, seconds: float = 0.3, *, tells: Tells = "first", never_ends: str = ""
    ) -> None:
        """Take some time for each reply, and tell the usage at some point.

        Args:
            seconds: How long the first chunks and the last ones are apart.
            never_ends: The text whose last chunks never come.
            tells: The usage in the first chunk, in the last one behind the text, in the last one
                and the text only just before it, or never.
        """
        super().__init__()
        self.seconds = seconds
        self.tells = tells
        self.never_ends = never_ends
        self.usage: list[tuple[str, int, int]] = []
        """Text, tokens read and tokens written of each inference."""

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        messages = chat_ctx.messages()
        spoken = [m.text_content or "" for m in messages if m.role == "user"]
        characters = sum(len(m.text_content or "") for m in messages)
        tokens = spoken[-1] if spoken else "", 1000 + characters // 4, 10 + len(self.usage)
        self.usage.append(tokens)
        return _Counted(
            self, tokens, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options
        )


class _Counted(llm.LLMStream):
    def __init__(self, owner: CountingLlm, tokens: tuple[str, int, int], **options: Any) -> None:
        self._text, self._read, self._written = tokens
        self._tells = owner.tells
        self._seconds = owner.seconds if self._text != owner.never_ends else None
        super().__init__(owner, **options)

    async def _run(self) -> None:
        total = self._read + self._written
        usage = llm.CompletionUsage(
            prompt_tokens=self._read, completion_tokens=self._written, total_tokens=total
        )
        delta = llm.ChoiceDelta(role="assistant", content=f"You said: {self._text}.")
        told = llm.ChatChunk(id="answer", usage=usage)
        text = llm.ChatChunk(id="answer", delta=delta)
        first, last = {
            "first": ([told, text], []),
            "last": ([text], [told]),
            "last of all": ([], [text, told]),
            "never": ([text], []),
        }[self._tells]
        for chunk in first:
            self._event_ch.send_nowait(chunk)
        if self._seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(self._seconds)
        for chunk in last:
            self._event_ch.send_nowait(chunk)
