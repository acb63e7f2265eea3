"""The log of interleaved sessions: one sequence chart for each, and neither a secret nor a text.

Two clients speak at the same time; the connection of one is reset in mid-turn. Their lines are
mixed in one log, and must be told apart by nothing but the id of the session.
"""

from __future__ import annotations

import ast
import asyncio
import itertools
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import cartesia_ink_plugins.core
from cartesia_ink_plugins import (
    Credentials,
    InkTurnsClient,
    Moment,
    MomentKind,
    Resilience,
    Span,
    TurnEnd,
    TurnsOptions,
)
from cartesia_ink_plugins.core.log import LOGGER_NAME
from cartesia_ink_plugins.testing import Cue, InkServer, Script

API_KEY = "sk_car_0123456789abcdef"
TOKEN = "tok_fedcba9876543210"
CORE = Path(cartesia_ink_plugins.core.__file__).parent
LINE = re.compile(r"\[(ink-[0-9a-f]{6})\] (.+)")
AUDIO = re.compile(r"> BINARY audio (\d+\.\d{3}) to (\d+\.\d{3}) s")
OPENED = re.compile(r"connection (\d+) opened \(([0-9a-f-]{36})\)")
REPLAYING = re.compile(r"replaying (\d+\.\d) s from (\d+\.\d) s")
REPLAYED = re.compile(r"replay ended at (\d+\.\d) s")
LOST = re.compile(r".+; reconnecting in \d+\.\d\d s")

# The server puts the key of the caller into a message, as some do in their errors.
ECHO = Cue(0.2, json.dumps({"type": "notice", "error": f"the key {API_KEY} is new"}))
DROPPED = Script("Zebras and giraffes are quick.", "Pelicans sleep.", lead_in=0.1, cues=[ECHO])
STEADY = Script("Tulips bloom in March.", "Orchids need water.", lead_in=0.1)
USER_TEXT = re.compile("zebra|giraffe|quick|pelican|tulip|bloom|orchid|water", re.IGNORECASE)


@dataclass(slots=True)
class Replays:
    """A tap that keeps the replays."""

    spans: list[Span] = field(default_factory=list)

    def on(self, moment: Moment) -> None:
        if moment.kind is MomentKind.REPLAY_BEGAN:
            assert isinstance(moment.payload, Span)
            self.spans.append(moment.payload)


class Lines(logging.Handler):
    """A handler that keeps what sessions log; the local server has loggers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == LOGGER_NAME:
            self.records.append(record)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one session."""

    level: int
    text: str


@dataclass(slots=True)
class Talk:
    """What two sessions at the same time left behind."""

    records: list[logging.LogRecord]
    replays: list[Span]
    charts: dict[str, list[Line]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Split the log by the id in each line."""
        for record in self.records:
            match = LINE.fullmatch(record.getMessage())
            assert match, f"a line without a session: {record.getMessage()!r}"
            self.charts.setdefault(match[1], []).append(Line(record.levelno, match[2]))

    def chart(self, *, is_dropped: bool) -> list[Line]:
        """The lines of the session whose connection was reset, or of the other one."""
        [chart] = (
            chart
            for chart in self.charts.values()
            if any(REPLAYING.fullmatch(line.text) for line in chart) is is_dropped
        )
        return chart


async def token() -> str:
    """Provide an access token, which is sent in the URL."""
    return TOKEN


async def speak(url: str, script: Script, credentials: Credentials, tap: Replays) -> list[str]:
    """Speak a script in frames of 0.1 s, faster than real time; return the finals."""
    options = TurnsOptions(base_url=url)
    pcm, size = script.audio(options.format), options.format.size(0.1)
    resilience = Resilience(catch_up_rate=1000.0, drain_timeout=30.0)
    async with InkTurnsClient(options, credentials, resilience=resilience, taps=[tap]) as ink:
        for at in range(0, len(pcm), size):
            ink.send_audio(pcm[at : at + size])
            await asyncio.sleep(0.02)
        finishing = asyncio.create_task(ink.finish())
        finals = [event.transcript async for event in ink if isinstance(event, TurnEnd)]
        await finishing
    return finals


async def converse() -> list[Span]:
    """Let both sessions speak at the same time; return the replays of the one that is reset."""
    replays, none = Replays(), Replays()
    async with (
        InkServer(DROPPED, faults=["reset@turn.update:3#0"]) as one,
        InkServer(STEADY) as other,
    ):
        finals = await asyncio.gather(
            speak(one.url, DROPPED, Credentials(api_key=API_KEY), replays),
            speak(other.url, STEADY, Credentials(token_provider=token), none),
        )
    assert list(finals) == [DROPPED.transcripts, STEADY.transcripts]
    assert not none.spans
    return replays.spans


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    """Two sessions at the same time, one of them reset in its first turn, logged at DEBUG."""
    logger, handler = logging.getLogger(LOGGER_NAME), Lines()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        replays = asyncio.run(converse())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    yield Talk(handler.records, replays)


def test_the_lines_of_the_sessions_are_mixed_and_each_has_its_id(talk: Talk) -> None:
    assert len(talk.charts) == 2
    ids = [record.getMessage()[:12] for record in talk.records]
    assert sum(one != other for one, other in itertools.pairwise(ids)) > 10


def test_a_steady_session_is_one_connection_without_a_gap(talk: Talk) -> None:
    chart = talk.chart(is_dropped=False)
    check_chart(chart, STEADY)
    assert [line.text for line in chart if OPENED.fullmatch(line.text)][1:] == []
    assert not any(LOST.fullmatch(line.text) for line in chart)
    check_audio([line.text for line in chart])


def test_a_session_that_was_reset_shows_the_loss_and_the_replay(talk: Talk) -> None:
    chart = talk.chart(is_dropped=True)
    check_chart(chart, DROPPED)
    texts = [line.text for line in chart]
    [lost] = [at for at, text in enumerate(texts) if LOST.fullmatch(text)]
    begun = [at for at, text in enumerate(texts) if REPLAYING.fullmatch(text)]
    ended = [at for at, text in enumerate(texts) if REPLAYED.fullmatch(text)]
    opened = [at for at, text in enumerate(texts) if OPENED.fullmatch(text)]
    connecting = [at for at, text in enumerate(texts) if text == "= connecting"]
    order = [connecting[0], opened[0], lost, connecting[1], opened[1], begun[0], ended[0]]
    assert order == sorted(order)
    assert [len(connecting), len(opened), len(begun), len(ended)] == [2, 2, 1, 1]
    assert [OPENED.fullmatch(texts[at])[1] for at in opened] == ["1", "2"]  # type: ignore[index]
    assert all(chart[at].level == logging.INFO for at in [lost, *begun, *ended, *opened])
    check_audio(texts[:lost])
    check_audio(texts[lost:])
    assert not any(text.startswith(("> BINARY", "<")) for text in texts[lost : opened[1]])


def test_the_replay_line_tells_the_length_and_the_place(talk: Talk) -> None:
    [span] = talk.replays
    texts = [line.text for line in talk.chart(is_dropped=True)]
    assert f"replaying {span.seconds:.1f} s from {span.start:.1f} s" in texts
    assert span.seconds > 0.0
    [ended] = [match for text in texts if (match := REPLAYED.fullmatch(text))]
    assert float(ended[1]) >= span.end - 0.05
    lost = next(at for at, text in enumerate(texts) if LOST.fullmatch(text))
    resent = next(match for text in texts[lost:] if (match := AUDIO.fullmatch(text)))
    assert float(resent[1]) == pytest.approx(span.start, abs=0.001)


def test_no_line_has_a_secret(talk: Talk) -> None:
    log = "\n".join(record.getMessage() for record in talk.records)
    assert "the key *** is new" in log
    for secret in (API_KEY, TOKEN):
        assert secret not in log


def test_no_line_at_info_has_text_of_the_user(talk: Talk) -> None:
    lines = [line for chart in talk.charts.values() for line in chart]
    assert any(USER_TEXT.search(line.text) for line in lines if line.level == logging.DEBUG)
    for line in lines:
        assert line.level < logging.INFO or not USER_TEXT.search(line.text)


def check_chart(chart: list[Line], script: Script) -> None:
    """Each message of the server stands before the event that it causes; `close` is the last."""
    texts = [line.text for line in chart]
    assert texts[-1] == "= finished"
    closes = [at for at, text in enumerate(texts) if text == '> TEXT {"type":"close"}']
    ends = [at for at, text in enumerate(texts) if text.startswith("= event TurnEnd")]
    assert len(ends) == len(script.turns)
    for at, transcript in zip(ends, script.transcripts, strict=True):
        received = next(i for i in range(at, -1, -1) if texts[i].startswith("< TEXT"))
        message = json.loads(texts[received].removeprefix("< TEXT "))
        assert message["type"] == "turn.end"
        assert transcript.endswith(message["transcript"].split()[-1])
    [close] = closes
    assert not any(text.startswith("> BINARY") for text in texts[close:])
    first = next(text for text in texts if text.startswith("< "))
    assert json.loads(first.removeprefix("< TEXT "))["type"] == "connected"


def check_audio(texts: list[str]) -> None:
    """The audio of one connection is contiguous."""
    spans = [(match[1], match[2]) for text in texts if (match := AUDIO.fullmatch(text))]
    assert spans
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start == end


def test_the_core_logs_through_the_log_of_a_session() -> None:
    """Another logger would write lines without an id."""
    makers = {
        path.name
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "getLogger"
    }
    assert makers == {"log.py"}
