"""Server messages as JSON text: reading survives everything, and text is verbatim."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import (
    Connected,
    Done,
    ErrorMessage,
    FlushDone,
    Malformed,
    Timing,
    Transcript,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unknown,
    Word,
)
from cartesia_ink_plugins.core.wire import (
    decode,
    decode_transcript,
    encode,
    encode_word_times,
    wire_fields,
)

WireMessage = Connected | TurnEvent | ErrorMessage | Transcript | FlushDone | Done
TEXTUAL = (TurnUpdate, TurnEagerEnd, TurnEnd)
TURN_KINDS = (TurnStart, TurnResume, *TEXTUAL)
KINDS = (Connected, *TURN_KINDS, ErrorMessage, Transcript, FlushDone, Done)

texts = st.text(max_size=40)
# What is printed as it is comes back as one printable line.
lines = st.text(min_size=1, max_size=20).filter(str.isprintable)
maybe = st.none() | lines
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
field_names = st.sampled_from(
    "type transcript request_id status_code code message title error_code doc_url "
    "text is_final duration language words timing extra".split()
)
# JSON that is read as it was written: no NaN, and no names that a turn message knows.
extras = st.dictionaries(
    st.text(max_size=8).map("x-{}".format),
    st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8) | st.lists(st.integers(0, 9)),
    max_size=3,
)
seconds = st.floats(0, 1000)
words = st.lists(st.builds(Word, texts, seconds, seconds), max_size=3).map(tuple)
messages: st.SearchStrategy[WireMessage] = st.one_of(
    st.builds(Connected, maybe),
    st.builds(TurnStart, request_id=maybe, extra=extras),
    st.builds(TurnResume, request_id=maybe, extra=extras),
    st.builds(TurnUpdate, texts, request_id=maybe, extra=extras),
    st.builds(TurnEagerEnd, texts, request_id=maybe, extra=extras),
    st.builds(TurnEnd, texts, request_id=maybe, extra=extras),
    st.builds(
        ErrorMessage,
        status=st.integers(100, 599),
        message=lines,
        title=lines,
        code=maybe,
        doc_url=maybe,
        request_id=maybe,
    ),
    st.builds(
        Transcript,
        text=texts,
        is_final=st.booleans(),
        duration=st.none() | seconds,
        language=maybe,
        words=words,
        request_id=maybe,
    ),
    st.builds(FlushDone, maybe),
    st.builds(Done, maybe),
)


class TestDecode:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"type":"connected","request_id":"r"}', Connected("r")),
            ('{"type":"turn.start","request_id":"r"}', TurnStart(request_id="r")),
            (
                '{"type":"turn.update","transcript":"Hey","request_id":"r"}',
                TurnUpdate("Hey", request_id="r"),
            ),
            (
                '{"type":"turn.eager_end","transcript":"Hey?","request_id":"r"}',
                TurnEagerEnd("Hey?", request_id="r"),
            ),
            ('{"type":"turn.resume","request_id":"r"}', TurnResume(request_id="r")),
            (
                '{"type":"turn.end","transcript":"Hey?","request_id":"r"}',
                TurnEnd("Hey?", request_id="r"),
            ),
            ('{"type":"turn.end","transcript":""}', TurnEnd("")),
            (
                '{"type":"transcript","text":" Hey","is_final":true,"request_id":"r"}',
                Transcript(" Hey", request_id="r"),
            ),
            ('{"type":"flush_done","request_id":"r"}', FlushDone("r")),
            ('{"type":"done","request_id":"r"}', Done("r")),
        ],
    )
    def test_every_documented_message(self, text: str, message: WireMessage) -> None:
        assert decode(text) == message

    def test_errors_since_2026_03_01(self) -> None:
        text = json.dumps(
            {
                "type": "error",
                "title": "Invalid model",
                "message": "The model is not valid.",
                "error_code": "model_not_found",
                "doc_url": "https://docs.cartesia.ai/x",
                "status_code": 400,
                "request_id": "r",
            }
        )
        assert decode(text) == ErrorMessage(
            status=400,
            message="The model is not valid.",
            title="Invalid model",
            code="model_not_found",
            doc_url="https://docs.cartesia.ai/x",
            request_id="r",
        )

    def test_errors_of_older_versions_have_their_status_as_code(self) -> None:
        message = decode('{"type":"error","message":"No.","code":402}')
        assert message == ErrorMessage(status=402, message="No.")

    @pytest.mark.parametrize("status", ["null", '"400"', "true", "4.5", "[]"])
    def test_an_error_without_a_status_is_the_servers_fault(self, status: str) -> None:
        message = decode(f'{{"type":"error","status_code":{status},"message":"Oops"}}')
        assert message == ErrorMessage(status=500, message="Oops")

    def test_unknown_types_are_not_malformed(self) -> None:
        assert decode('{"type":"turn.sentiment","sentiment":"fine"}') == Unknown("turn.sentiment")

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b'{"type":"connected"}', "binary message"),
            ("", "not a JSON object"),
            ('{"type":"conn', "not a JSON object"),
            ("[" * 100_000, "not a JSON object"),
            ('{"type":"turn.end","transcript":"","n":' + "9" * 5000 + "}", "not a JSON object"),
            ('["turn.start"]', "not a JSON object"),
            ("null", "not a JSON object"),
            ("{}", "no type"),
            ('{"type":7}', "no type"),
            ('{"type":"turn.end"}', "turn.end without transcript"),
            ('{"type":"turn.update","transcript":null}', "turn.update without transcript"),
            ('{"type":"turn.eager_end","transcript":["a"]}', "turn.eager_end without transcript"),
            ('{"type":"transcript"}', "transcript without text"),
            ('{"type":"transcript","text":17}', "transcript without text"),
        ],
    )
    def test_what_does_not_follow_the_api_is_malformed(self, data: str | bytes, why: str) -> None:
        assert decode(data) == Malformed(why)

    def test_the_reason_has_no_text_of_the_user(self) -> None:
        for data in (
            '{"type":"turn.end","transcript":["secret"]}',
            '{"type":"transcript","text":["secret"]}',
            '"secret',
            '["secret"]',
        ):
            assert "secret" not in repr(decode(data))

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_request_id_of_a_wrong_type_is_left_out(self, kind: type[WireMessage]) -> None:
        fields = {"type": kind.type, "transcript": "", "text": "", "message": "", "request_id": 17}
        message = decode(json.dumps(fields))
        assert isinstance(message, kind)
        assert message.request_id is None

    @given(st.text() | st.binary())
    def test_never_raises_on_noise(self, data: str | bytes) -> None:
        assert decode(data) is not None

    @given(values)
    def test_never_raises_on_any_json(self, value: object) -> None:
        assert decode(json.dumps(value)) is not None

    @given(
        st.dictionaries(field_names | st.text(max_size=5), values),
        st.sampled_from([kind.type for kind in KINDS]),
    )
    def test_never_raises_on_fields_of_wrong_types(self, fields: dict[str, Any], kind: str) -> None:
        message = decode(json.dumps({**fields, "type": kind}))
        match message:
            case TurnUpdate() | TurnEagerEnd() | TurnEnd():
                assert message.transcript == fields["transcript"]
            case ErrorMessage():
                assert type(message.status) is int
            case Transcript():
                assert message.text == fields["text"]
                assert isinstance(message.duration, float | None)
                assert isinstance(message.language, str | None)
            case Malformed():
                assert not isinstance(fields.get("transcript"), str) or kind == "transcript"
            case _:
                assert kind in ("connected", "turn.start", "turn.resume", "flush_done", "done")
        if not isinstance(message, Malformed | Unknown):
            assert isinstance(message.request_id, str | None)

    @given(messages, st.data())
    def test_never_raises_on_half_a_message(
        self, message: WireMessage, data: st.DataObject
    ) -> None:
        text = encode(message)
        cut = data.draw(st.integers(0, len(text) - 1))
        assert decode(text[:cut]) == Malformed("not a JSON object")


class TestHalfACharacter:
    """A lone surrogate cannot be encoded by any log, terminal or socket."""

    def test_is_replaced_in_every_text_of_a_turn(self) -> None:
        data = json.dumps({"type": "turn.end", "transcript": "a\ud83d", "n\ud83d": ["\ude00"]})
        message = decode(data)
        assert isinstance(message, TurnEnd)
        assert message.transcript == "a\ufffd"
        assert message.extra == {"n\ufffd": ["\ufffd"]}

    def test_waits_for_its_other_half_in_a_delta(self) -> None:
        message = decode(
            json.dumps({"type": "transcript", "text": "a\ud83d", "language": "\ud83d"})
        )
        assert isinstance(message, Transcript)
        assert message.text == "a\ud83d"
        assert message.language == "\\ud83d"

    def test_is_escaped_in_an_unknown_type(self) -> None:
        assert decode(json.dumps({"type": "\ud83d\x1b[2J"})) == Unknown("\\ud83d\\x1b[2J")


class TestUnknownFields:
    @pytest.mark.parametrize("kind", TURN_KINDS)
    def test_of_a_turn_message_are_kept(self, kind: type[TurnEvent]) -> None:
        fields = {"confidence": 0.9, "words": [1], "nothing": None}
        message = decode(json.dumps({"type": kind.type, "transcript": "Hi", **fields}))
        assert isinstance(message, kind)
        if isinstance(message, TEXTUAL):
            assert message.transcript == "Hi"
            assert message.extra == fields
        else:
            assert message.extra == {"transcript": "Hi", **fields}

    def test_without_any_the_mapping_is_empty(self) -> None:
        message = decode('{"type":"turn.start"}')
        assert isinstance(message, TurnStart)
        assert message.extra == {}

    def test_they_cannot_be_changed(self) -> None:
        message = decode('{"type":"turn.start","confidence":0.9}')
        assert isinstance(message, TurnStart)
        with pytest.raises(TypeError):
            message.extra["confidence"] = 1.0  # type: ignore[index]

    def test_wire_fields_gives_them_back(self) -> None:
        fields = {
            "type": "turn.end",
            "transcript": "Hi",
            "request_id": "r",
            "confidence": 0.9,
            "speaker": {"id": 7},
        }
        message = decode(json.dumps(fields))
        assert isinstance(message, TurnEnd)
        assert wire_fields(message) == fields
        assert json.loads(encode(message)) == fields

    def test_what_a_session_adds_is_not_read_from_the_wire(self) -> None:
        text = '{"type":"turn.end","transcript":"Hi","timing":{"turn":9},"extra":{"a":1}}'
        message = decode(text)
        assert isinstance(message, TurnEnd)
        assert message.timing is None
        assert message.extra == {"timing": {"turn": 9}, "extra": {"a": 1}}

    @given(st.sampled_from(TURN_KINDS), st.dictionaries(st.text(max_size=8), values, max_size=4))
    def test_all_fields_are_either_attributes_or_extra(
        self, kind: type[TurnEvent], fields: dict[str, Any]
    ) -> None:
        known = {"type": kind.type, "transcript": "Hi", "request_id": "r"}
        sent = json.loads(json.dumps({**fields, **known}))
        message = decode(json.dumps(sent))
        assert isinstance(message, kind)
        assert repr(wire_fields(message)) == repr({**wire_fields(message), **sent})  # NaN is kept

    @pytest.mark.parametrize("kind", [Connected, Transcript, FlushDone, Done, ErrorMessage])
    def test_of_any_other_message_are_ignored(self, kind: type[WireMessage]) -> None:
        fields = {"type": kind.type, "text": "Hi", "message": "Hi", "status_code": 500}
        message = decode(json.dumps({**fields, "confidence": 0.9}))
        assert message == decode(json.dumps(fields))
        assert isinstance(message, kind)


class TestTranscript:
    def test_every_documented_field(self) -> None:
        fields = {
            "text": " How are",
            "is_final": False,
            "duration": 0.3,
            "language": "en",
            "words": [
                {"word": " How", "start": 0.0, "end": 0.12},
                {"word": " are", "start": 0.15, "end": 0.25},
            ],
            "request_id": "r",
        }
        assert decode_transcript(fields) == Transcript(
            " How are",
            is_final=False,
            duration=0.3,
            language="en",
            words=(Word(" How", 0.0, 0.12), Word(" are", 0.15, 0.25)),
            request_id="r",
        )

    def test_without_text_it_is_none(self) -> None:
        assert decode_transcript({"duration": 1.0}) is None

    @pytest.mark.parametrize(
        "fields",
        [
            {"is_final": None},
            {"is_final": 1},
            {"is_final": "false"},
            {"duration": "0.3"},
            {"duration": True},
            {"duration": float("nan")},
            {"duration": float("inf")},
            {"duration": 10**400},
            {"duration": -1e300},
            {"language": 7},
            {"words": "Hi"},
            {"words": {"word": "Hi"}},
            {"words": [None, "Hi", ["Hi"], {"word": "Hi"}, {"word": "Hi", "start": 0}]},
            {"words": [{"word": 1, "start": 0, "end": 1}]},
            {"words": [{"word": "Hi", "start": "0", "end": 1}]},
            {"request_id": 7},
        ],
    )
    def test_fields_of_a_wrong_type_are_left_out(self, fields: dict[str, object]) -> None:
        assert decode_transcript({"text": "Hi", **fields}) == Transcript("Hi")

    def test_a_word_with_a_wrong_time_does_not_cost_the_others(self) -> None:
        words = [{"word": "a", "start": None, "end": 1}, {"word": "b", "start": 1, "end": 2}]
        transcript = decode_transcript({"text": "a b", "words": words})
        assert transcript is not None
        assert transcript.words == (Word("b", 1.0, 2.0),)

    def test_no_words_are_not_written(self) -> None:
        assert encode_word_times(()) is None
        assert encode_word_times([Word("a", 0.0, 1.0)]) == [{"word": "a", "start": 0.0, "end": 1.0}]
        assert "words" not in json.loads(encode(Transcript("a")))


class TestEncode:
    @given(messages)
    def test_what_is_written_is_read_the_same(self, message: WireMessage) -> None:
        assert decode(encode(message)) == message

    @given(st.sampled_from(TEXTUAL), st.text())
    def test_text_is_verbatim(
        self, kind: Callable[[str], TurnUpdate | TurnEagerEnd | TurnEnd], text: str
    ) -> None:
        message = decode(encode(kind(text)))
        assert cast("TurnEnd", message).transcript == text

    @pytest.mark.parametrize("text", [" and so", "two  spaces ", "\n\t", "é e\u0301 👋", "\u00a0"])
    def test_spaces_and_accents_are_neither_stripped_nor_normalized(self, text: str) -> None:
        message = decode(json.dumps({"type": "turn.end", "transcript": text}))
        assert message == TurnEnd(text)
        assert decode(json.dumps({"type": "transcript", "text": text})) == Transcript(text)

    def test_absent_fields_are_left_out(self) -> None:
        assert json.loads(encode(TurnStart())) == {"type": "turn.start"}
        assert json.loads(encode(Done())) == {"type": "done"}
        assert json.loads(encode(Transcript(""))) == {
            "type": "transcript",
            "text": "",
            "is_final": True,
        }
        assert json.loads(encode(ErrorMessage(500, "Oops", "Error"))) == {
            "type": "error",
            "title": "Error",
            "message": "Oops",
            "status_code": 500,
        }

    def test_what_only_a_client_knows_is_not_written(self) -> None:
        text = encode(TurnEnd("Hi", request_id="r", timing=Timing(1, 2.0)))
        assert json.loads(text) == {"type": "turn.end", "transcript": "Hi", "request_id": "r"}

    def test_fields_that_a_server_adds_are_written(self) -> None:
        extra = MappingProxyType({"confidence": 0.9})
        text = encode(TurnEnd("Hi", extra=extra))
        assert json.loads(text) == {"type": "turn.end", "transcript": "Hi", "confidence": 0.9}
