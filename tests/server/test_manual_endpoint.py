"""One connection to `/stt/websocket`: what the server says to audio and to commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.frames import WireItem
from cartesia_ink_plugins.server.manual_endpoint import ManualConnection
from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest, split_into_deltas
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_manual import ScriptManualStream
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from cartesia_ink_plugins.server.validate import Command

SCRIPT = Script("Hello there.", "I'd like a table for two people.")
NEEDED = [("model", "ink-2"), ("encoding", "pcm_s16le"), ("sample_rate", "16000")]
WHISPER = [("model", "ink-whisper"), *NEEDED[1:]]


class Line:
    """A connection and what came out of it."""

    def __init__(
        self,
        script: Script = SCRIPT,
        query: Sequence[tuple[str, str]] = NEEDED,
        *,
        rules: Rules | None = None,
    ) -> None:
        self.record = ConnectionRecord(
            number=0, request_id="id-1", path="/stt/websocket", query=list(query), headers={}
        )
        self.items: list[WireItem] = []
        self.segments = 0
        rules = rules or Rules(overload_seconds=None)
        self.connection = ManualConnection(
            self.record, script.engine(), rules, "2026-03-01", self._send
        )
        self.connection.start(0.0)

    def _send(self, items: Sequence[WireItem]) -> None:
        self.segments += 1
        self.items += items

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(item) for item in self.items if isinstance(item, str)]

    @property
    def kinds(self) -> list[Any]:
        return [i if isinstance(i, Close) else json.loads(i)["type"] for i in self.items]

    @property
    def text(self) -> str:
        return "".join(message.get("text", "") for message in self.said)

    def hear(self, pcm: bytes, now: float = 0.0) -> None:
        self.connection.receive_audio(pcm, now)


def test_it_says_nothing_before_there_are_words() -> None:
    assert Line().items == []


async def test_deltas_come_while_somebody_speaks_and_break_words() -> None:
    line = Line()
    line.hear(SCRIPT.audio())
    before = [message["text"] for message in line.said]
    assert "".join(before) != "".join(SCRIPT.transcripts)
    assert before[:3] == ["Hello ", "the", "re. I'd l"]
    assert line.connection.receive_text("finalize") is Command.FINALIZE
    await line.connection.flush()
    assert line.kinds[-1] == "flush_done"
    assert line.text == "".join(SCRIPT.transcripts)
    assert {message["request_id"] for message in line.said} == {"id-1"}
    assert all(m["is_final"] is True for m in line.said if m["type"] == "transcript")
    assert not any({"words", "duration"} & message.keys() for message in line.said)


async def test_finalize_without_words_is_answered_too() -> None:
    line = Line()
    await line.connection.flush()
    assert line.kinds == ["flush_done"]


@pytest.mark.parametrize("command", ["close", "done"])
async def test_close_gives_all_words_then_done_then_close_1000(command: str) -> None:
    line = Line()
    line.hear(SCRIPT.audio())
    assert line.connection.receive_text(command) is Command.CLOSE
    await line.connection.finish()
    assert line.text == "".join(SCRIPT.transcripts)
    assert line.kinds[-2:] == ["done", Close(1000)]


async def test_silence_gives_all_words_without_finalize() -> None:
    script = Script(Turn("Hello there.", after=1.9), timing=ScriptTiming(finalize_after=2.0))
    line = Line(script)
    line.hear(script.audio())
    assert line.text != "Hello there."
    line.hear(AudioFormat().silence(0.2))
    assert line.text == "Hello there."
    assert "flush_done" not in line.kinds


async def test_whisper_says_everything_at_once_with_words_and_times() -> None:
    line = Line(query=[*WHISPER, ("language", "de"), ("max_silence_duration_secs", "9")])
    line.hear(SCRIPT.audio())
    assert line.items == []
    await line.connection.flush()
    [transcript, _] = line.said
    assert transcript["text"] == "".join(SCRIPT.transcripts)
    assert transcript["language"] == "de"
    assert transcript["duration"] == pytest.approx(SCRIPT.seconds, abs=0.02)
    assert transcript["words"][0]["word"] == "Hello"
    assert transcript["words"][1]["word"] == " there."
    starts = [word["start"] for word in transcript["words"]]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (NEEDED[1:], "model"),
        ([("model", "nova"), *NEEDED[1:]], "model"),
        ([*NEEDED, ("language", "fr")], "ink-2"),
        ([*NEEDED, ("language", "English!")], "language"),
        ([*WHISPER, ("keyterm", "table")], "keyterm"),
        ([*WHISPER, ("max_silence_duration_secs", "-1")], "max_silence"),
        ([*WHISPER, ("max_silence_duration_secs", "long")], "max_silence"),
        ([*WHISPER, ("min_volume", "loud")], "min_volume"),
        ([*WHISPER, ("min_volume", "1.5")], "min_volume"),
        ([NEEDED[0], ("encoding", "mp3"), NEEDED[2]], "encoding"),
    ],
)
def test_wrong_settings_are_an_error_and_close_1008(query: list[tuple[str, str]], why: str) -> None:
    line = Line(query=query)
    assert line.said[0]["status_code"] == 400
    assert why in line.said[0]["message"]
    assert isinstance(line.items[-1], Close)
    assert line.items[-1].code == 1008


def test_unknown_text_is_an_error_400_and_close_1008() -> None:
    line = Line()
    assert line.connection.receive_text('{"type":"finalize"}') is None
    assert line.kinds == ["error", Close(1008, "Invalid message")]


def test_idle_is_without_audio_for_three_minutes() -> None:
    line = Line(rules=Rules())
    line.hear(bytes(640), now=10.0)
    line.connection.receive_text("finalize")
    line.connection.expire(189.9)
    assert line.items == []
    line.connection.expire(190.1)
    assert line.items == [Close(1001, "Idle timeout")]


def test_a_sample_may_be_cut_in_two() -> None:
    line = Line()
    pcm = SCRIPT.audio()
    for at in range(0, len(pcm), 999):
        line.hear(pcm[at : at + 999])
    assert line.text.startswith("Hello there.")


def test_overload_is_an_internal_error() -> None:
    line = Line(rules=Rules(overload_seconds=1.0))
    line.hear(SCRIPT.audio())
    assert line.kinds == ["error", Close(1011, "Internal Server Error")]


async def test_the_server_may_be_told_never_to_answer() -> None:
    line = Line(rules=Rules(answer_finalize=False, overload_seconds=None))
    line.hear(SCRIPT.audio())
    await line.connection.flush()
    assert line.text == "".join(SCRIPT.transcripts)
    assert "flush_done" not in line.kinds


async def test_unknown_fields_can_be_sprinkled_in() -> None:
    line = Line(rules=Rules(extra_fields=True, overload_seconds=None))
    line.hear(SCRIPT.audio())
    assert all("new_field" in message for message in line.said)


async def test_an_engine_that_fails_is_an_internal_error() -> None:
    class Failing:
        def open_manual(self, request: ManualRequest, emit: ManualEmit) -> Failing:
            return self

        def receive_audio(self, pcm: bytes) -> None:
            return None

        async def finalize(self) -> None:
            raise RuntimeError("no more disk")

        def abort(self) -> None:
            return None

    items: list[WireItem] = []
    record = ConnectionRecord(number=0, request_id="i", path="/", query=NEEDED, headers={})
    connection = ManualConnection(record, Failing(), Rules(), "", items.extend)
    connection.start(0.0)
    await connection.flush()
    assert items[-1] == Close(1011, "Internal Server Error")
    assert "disk" not in str(items)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_is_heard(encoding: Encoding) -> None:
    said: list[Any] = []
    format = AudioFormat(encoding, 8000)
    request = ManualRequest(model="ink-2", format=format)
    ear = ScriptManualStream(
        request, said.extend, vocabulary=SCRIPT.vocabulary, timing=SCRIPT.timing
    )
    ear.receive_audio(SCRIPT.audio(format))
    ear.flush()
    assert "".join(message.text for message in said) == "".join(SCRIPT.transcripts)


def test_text_is_broken_into_pieces_of_given_sizes() -> None:
    assert split_into_deltas("abcdefgh", (3, 1)) == ["abc", "d", "efg", "h"]
    assert split_into_deltas("") == []
