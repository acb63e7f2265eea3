"""A traced session with an LLM that tells how many tokens it used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


class CountingLlm(Llm):
    """Tells its usage first, as some LLMs do, and then takes its time."""

    def __init__(self, seconds: float = 0.3) -> None:
        super().__init__()
        self.seconds = seconds
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
        spoken = [m for m in chat_ctx.messages() if m.role == "user"]
        text = (spoken[-1].text_content or "") if spoken else ""
        tokens = text, 100 + len(self.usage), 10 + len(self.usage)
        self.usage.append(tokens)
        return _Counted(
            self, tokens, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options
        )


class _Counted(llm.LLMStream):
    def __init__(self, owner: CountingLlm, tokens: tuple[str, int, int], **options: Any) -> None:
        self._text, self._read, self._written = tokens
        self._seconds = owner.seconds
        super().__init__(owner, **options)

    async def _run(self) -> None:
        usage = llm.CompletionUsage(
            prompt_tokens=self._read,
            completion_tokens=self._written,
            total_tokens=self._read + self._written,
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="answer", usage=usage))
        delta = llm.ChoiceDelta(role="assistant", content=f"You said: {self._text}.")
        self._event_ch.send_nowait(llm.ChatChunk(id="answer", delta=delta))
        await asyncio.sleep(self._seconds)
