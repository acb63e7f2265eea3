"""Any sequence of messages that the turn table allows, in any segments, on a busy event loop.

Through the real user aggregator and the LLM service's own speculation gate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import TurnEnd, TurnEvent
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from tests.pipecat.conversation import ScriptedLLM
from tests.pipecat.sides import ours, outcome, talk_to
from tests.pipecat.wire import RESUME, START, Pause, Play, eager, end, update

WORDS = ("book", "a", "table", "for", "two", "please")


@dataclass(frozen=True)
class Scene:
    """A play, and the circumstances in which it is performed.

    Attributes:
        finals: The final words of the turns.
        play: What the server says.
        interrupt_on: What interrupts the bot.
        block: Seconds for which the event loop is blocked, again and again.
        token_delay: Seconds that the LLM takes for a token.
    """

    finals: list[str]
    play: Play
    interrupt_on: str
    block: float
    token_delay: float


@st.composite
def turns(draw: st.DrawFn, number: int, may_be_empty: bool) -> list[TurnEvent]:
    """The messages of one turn."""
    lead = " " if number else ""
    if may_be_empty and draw(st.integers(0, 4)) == 0:
        return [START, end("")]
    words = f"{lead}{number}"
    messages: list[TurnEvent] = [START]
    for word in draw(st.lists(st.sampled_from(WORDS), max_size=4)):
        words += f" {word}"
        kind = draw(st.sampled_from(("update", "pair", "both")))
        if kind in ("update", "both"):
            messages.append(update(words))
        if kind in ("pair", "both"):
            messages += [eager(words), RESUME]
    final = words + draw(st.sampled_from(("", " now", ".")))
    if draw(st.booleans()):
        messages.append(eager(draw(st.sampled_from((words, final)))))
    return [*messages, end(final)]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A play of some turns, cut into segments."""
    interrupt_on = draw(st.sampled_from(("start", "words")))
    messages: list[TurnEvent] = []
    for number in range(draw(st.integers(1, 4))):
        messages += draw(turns(number, may_be_empty=interrupt_on == "words"))
    play: list[TurnEvent | list[TurnEvent] | Pause] = []
    while messages:
        size = draw(st.sampled_from((1, 1, 2, 3, 8)))
        play.append(messages[:size])
        messages = messages[size:]
        if pause := draw(st.sampled_from((0.0, 0.0, 0.001, 0.03))):
            play.append(Pause(pause))
    finals = [
        m.transcript for s in play if isinstance(s, list) for m in s if isinstance(m, TurnEnd)
    ]
    return Scene(
        finals=finals,
        play=play,
        interrupt_on=interrupt_on,
        block=draw(st.sampled_from((0.0, 0.0, 0.02))),
        token_delay=draw(st.sampled_from((0.0, 0.002, 0.02))),
    )


@asynccontextmanager
async def busy_loop(seconds: float) -> AsyncIterator[None]:
    """Block the event loop for some time, every now and then."""

    async def block() -> None:
        while seconds:
            time.sleep(seconds)  # noqa: ASYNC251 - that is the point
            await asyncio.sleep(0.003)

    task = asyncio.create_task(block())
    try:
        yield
    finally:
        task.cancel()


async def perform(scene: Scene) -> None:
    def make(url: str) -> InkTurnsSTTService:
        return ours(url, interrupt_on=scene.interrupt_on, resume_grace=0.01)

    llm = ScriptedLLM(token_delay=scene.token_delay)
    async with talk_to(scene.play, make, llm=llm) as (talk, server):
        async with busy_loop(scene.block):
            await talk.hear()
            await server.played.wait()
        await talk.quiet()
        result = outcome(talk)
    said = [final.strip() for final in scene.finals if final.strip()]
    # A prediction that differs only in spaces and punctuation is kept.
    answers = [f"re: {final.rstrip('.')}" for final in said]
    spoken = [" ".join(words.rstrip(".").split()) for words in result.spoken]
    assert result.user_messages == said
    assert [a for a in answers if a in spoken] == spoken, "an answer to other words, or twice"
    assert spoken[-1:] == answers[-1:], "no answer to the last turn"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
@given(scenes())
def test_one_message_and_at_most_one_answer_per_turn(scene: Scene) -> None:
    asyncio.run(perform(scene))
