"""One connection to the turns endpoint, without a socket and without a clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import (
    Close,
    Emit,
    Engine,
    Raw,
    RecognitionStream,
    TurnThresholds,
)
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.turns_endpoint import TurnsConnection
from cartesia_ink_plugins.server.validate import Command

NEEDED = [("model", "ink-2"), ("encoding", "pcm_s16le"), ("sample_rate", "16000")]


class Line:
    """A connection and what came out of it."""

    def __init__(
        self,
        engine: Engine | Script,
        query: Sequence[tuple[str, str]] = NEEDED,
        rules: Rules | None = None,
        version: str = "2026-03-01",
    ) -> None:
        self.segments: list[list[WireItem]] = []
        self.record = ConnectionRecord(
            number=0, request_id="id-1", path="/", query=list(query), headers={}
        )
        engine = engine.engine() if isinstance(engine, Script) else engine
        rules = rules or Rules()
        self.connection = TurnsConnection(
            self.record, engine, rules, version, lambda items: self.segments.append(list(items))
        )
        self.connection.start(0.0)

    @property
    def said(self) -> list[Any]:
        """Messages as JSON, binary ones and close frames as they are."""
        flat = [item for segment in self.segments for item in segment]
        return [json.loads(item) if isinstance(item, str) else item for item in flat]

    @property
    def kinds(self) -> list[Any]:
        return [s["type"] if isinstance(s, dict) else s for s in self.said]


class Wooden:
    """An engine and its ear, all of wood: a test says what it does."""

    def __init__(self) -> None:
        self.heard = b""
        self.thresholds: list[TurnThresholds] = []
        self.keyterms: tuple[str, ...] = ()
        self.aborted = 0
        self.failing: set[str] = set()
        self.emit: Emit

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> RecognitionStream:
        self.emit = emit
        self.thresholds.append(thresholds)
        self.keyterms = tuple(keyterms)
        return self

    def receive_audio(self, pcm: bytes) -> None:
        if "receive_audio" in self.failing:
            raise RuntimeError("cannot hear")
        self.heard += pcm

    def configure(self, settings: TurnThresholds) -> None:
        self.thresholds.append(settings)

    async def close(self) -> None:
        if "close" in self.failing:
            raise RuntimeError("cannot close")

    def abort(self) -> None:
        self.aborted += 1

    async def aclose(self) -> None:
        pass


def test_every_message_carries_the_request_id() -> None:
    script = Script("Hello.")
    line = Line(script)
    line.connection.receive_audio(script.audio(), 0.0)
    assert line.kinds == ["connected", "turn.start", "turn.update", "turn.eager_end", "turn.end"]
    assert {message["request_id"] for message in line.said} == {"id-1"}
    assert line.record.transcripts == ["Hello."]


@pytest.mark.parametrize("version", ["2026-03-01", "2027-01-01", ""])
def test_invalid_settings_get_an_error_instead_of_connected_then_1008(version: str) -> None:
    line = Line(Wooden(), [("model", "nova"), *NEEDED[1:]], version=version)
    (segment,) = line.segments
    assert json.loads(str(segment[0])) == {
        "type": "error",
        "title": "Invalid model",
        "message": "The model is not valid, make sure it is a valid model ID.",
        "error_code": "model_not_found",
        "status_code": 400,
        "request_id": "id-1",
    }
    assert segment[1] == Close(1008, "Invalid model")
    assert line.record.client_error
    line.connection.receive_audio(b"\0\0", 0.0)
    line.connection.receive_text("nonsense")
    assert len(line.segments) == 1


def test_older_versions_get_the_older_shape_of_errors() -> None:
    line = Line(Wooden(), [("model", "nova"), *NEEDED[1:]], version="2025-04-16")
    assert line.said[0] == {
        "type": "error",
        "message": "The model is not valid, make sure it is a valid model ID.",
        "code": 400,
        "request_id": "id-1",
    }


def test_unknown_text_is_an_error_400_and_close_1008() -> None:
    line = Line(Wooden())
    assert line.connection.receive_text('{"type":"keepalive"}') is None
    assert line.kinds == ["connected", "error", Close(1008, "Invalid message")]
    assert line.said[1]["status_code"] == 400
    assert line.record.received == ['{"type":"keepalive"}']


def test_unknown_text_may_be_ignored() -> None:
    line = Line(Wooden(), rules=Rules(reject_text=False))
    line.connection.receive_text("KeepAlive")
    assert line.kinds == ["connected"]


def test_config_is_checked_and_applied() -> None:
    engine = Wooden()
    line = Line(engine, [*NEEDED, ("turn_end_threshold", "0.2"), ("keyterm", "x")])
    line.connection.receive_text('{"type":"config","turn":{"eager_end_threshold":0.5}}')
    line.connection.receive_text('{"type":"config","turn":{"end_timeout_ms":1000}}')
    assert engine.keyterms == ("x",)
    assert engine.thresholds == [
        TurnThresholds(end=0.2),
        TurnThresholds(end=0.2, eager_end=0.5),
        TurnThresholds(end=0.2, eager_end=0.5, timeout_ms=1000),
    ]
    assert line.kinds == ["connected"]
    line.connection.receive_text('{"type":"config","turn":{"end_threshold":0.5}}')
    assert line.kinds == ["connected", "error", Close(1008, "Invalid turn settings")]


async def test_close_flushes_ends_the_open_turn_and_closes_1000_without_done() -> None:
    script = Script("alpha beta gamma")
    line = Line(script)
    line.connection.receive_audio(script.audio()[: 2 * 16_000 * 3 // 4], 0.0)
    assert line.connection.receive_text('{"type":"close"}') is Command.CLOSE
    await line.connection.finish()
    assert line.kinds[-2:] == ["turn.end", Close(1000)]
    assert line.record.transcripts == ["alpha"]


async def test_closing_without_audio_is_fine_or_an_error() -> None:
    line = Line(Wooden())
    await line.connection.finish()
    assert line.kinds == ["connected", Close(1000)]
    line = Line(Wooden(), rules=Rules(close_unused="error"))
    await line.connection.finish()
    assert line.kinds == ["connected", "error", Close(1008, "No audio")]


def test_a_sample_cut_in_two_is_put_together() -> None:
    engine = Wooden()
    line = Line(engine)
    for byte in b"\1\2\3\4\5":
        line.connection.receive_audio(bytes([byte]), 0.0)
    assert engine.heard == b"\1\2\3\4"
    assert line.record.audio_bytes == 5


def test_idle_is_without_audio_whatever_else_comes() -> None:
    line = Line(Wooden())
    line.connection.receive_audio(b"\0\0", 10.0)
    line.connection.ping(100.0)
    line.connection.receive_text('{"type":"config","turn":{}}')
    line.connection.expire(189.9)
    assert line.kinds == ["connected"]
    line.connection.expire(190.0)
    assert line.kinds == ["connected", Close(1001, "Idle timeout")]
    assert line.record.pings == 1


def test_pings_may_keep_a_connection() -> None:
    line = Line(Wooden(), rules=Rules(pings_are_activity=True))
    line.connection.ping(100.0)
    line.connection.expire(190.0)
    assert line.connection.idle_deadline() == 280.0
    assert line.kinds == ["connected"]


def second(line: Line, now: float) -> None:
    line.connection.receive_audio(bytes(32_000), now)


def test_audio_much_faster_than_real_time_for_long_is_an_internal_error() -> None:
    line = Line(Wooden())
    for _ in range(10):
        second(line, 0.0)
    assert line.kinds == ["connected"]
    second(line, 0.0)
    assert line.kinds == ["connected", "error", Close(1011, "Internal Server Error")]
    assert line.said[1]["status_code"] == 500


def test_up_to_three_times_real_time_is_taken_for_ever() -> None:
    line = Line(Wooden())
    for i in range(600):
        second(line, i / 3)
    assert line.kinds == ["connected"]
    for i in range(60):
        second(line, 200 + i / 5)
    assert line.kinds[1] == "error"


def test_without_a_limit_audio_may_come_at_any_speed() -> None:
    line = Line(Wooden(), rules=Rules(overload_seconds=None))
    for _ in range(100):
        second(line, 0.0)
    assert line.kinds == ["connected"]


def test_a_cue_may_break_every_rule_but_an_engine_may_not() -> None:
    line = Line(Script(cues=[Cue(0, TurnEnd("x"), "{", b"\1")]))
    assert line.segments[1] == [
        '{"type": "turn.end", "transcript": "x", "request_id": "id-1"}',
        "{",
        b"\1",
    ]
    engine = Wooden()
    line = Line(engine)
    engine.emit([TurnEnd("x"), TurnStart()])
    assert line.kinds == ["connected", "error", Close(1011, "Internal Server Error")]
    assert line.record.protocol_violation == "turn.end while idle"


@pytest.mark.parametrize("what", ["receive_audio", "close"])
async def test_an_engine_that_fails_is_an_internal_error(what: str) -> None:
    engine = Wooden()
    engine.failing = {what}
    line = Line(engine)
    line.connection.receive_audio(b"\0\0", 0.0)
    await line.connection.finish()
    assert line.kinds == ["connected", "error", Close(1011, "Internal Server Error")]
    assert "cannot" not in str(line.said)


def test_nothing_follows_a_close() -> None:
    engine = Wooden()
    line = Line(engine)
    engine.emit([TurnStart(), Close(1011, "x"), TurnEnd("y")])
    engine.emit([TurnEnd("z")])
    assert line.kinds == ["connected", "turn.start", Close(1011, "x")]


def test_a_connection_that_is_gone_frees_its_ear() -> None:
    engine = Wooden()
    line = Line(engine)
    line.connection.abort()
    engine.emit([TurnStart()])
    assert engine.aborted == 1
    assert line.kinds == ["connected"]


def test_unknown_fields_and_types_can_be_sprinkled_in() -> None:
    engine = Wooden()
    line = Line(engine, rules=Rules(extra_fields=True))
    engine.emit([TurnStart(), Raw("as it is")])
    assert line.segments[0][1] == '{"type": "turn.sentiment", "sentiment": "curious"}'
    assert line.segments[1][1] == "as it is"
    assert "new_field" in str(line.segments[1][0])
