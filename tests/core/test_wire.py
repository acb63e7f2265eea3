"""What is said on the wire: decoding survives everything, and text is verbatim, always."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
    Malformed,
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unknown,
)
from cartesia_ink_plugins.core.wire import decode, encode

WireMessage = Connected | TurnEvent | ErrorMessage
TEXTUAL = (TurnUpdate, TurnEagerEnd, TurnEnd)

texts = st.text(max_size=40)
maybe = st.none() | st.text(min_size=1, max_size=20)
messages: st.SearchStrategy[WireMessage] = st.one_of(
    st.builds(Connected, maybe),
    st.builds(TurnStart, maybe),
    st.builds(TurnResume, maybe),
    st.builds(TurnUpdate, texts, maybe),
    st.builds(TurnEagerEnd, texts, maybe),
    st.builds(TurnEnd, texts, maybe),
    st.builds(
        ErrorMessage,
        status=st.integers(100, 599),
        message=texts,
        title=st.text(min_size=1, max_size=20),
        code=maybe,
        doc_url=maybe,
        request_id=maybe,
    ),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
field_names = st.sampled_from(
    ["type", "transcript", "request_id", "status_code", "code", "message", "title", "error_code"]
)
types = st.sampled_from(
    [m.type for m in (Connected, TurnStart, TurnResume, *TEXTUAL, ErrorMessage)]
)


class TestDecode:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"type":"connected","request_id":"r"}', Connected("r")),
            ('{"type":"turn.start","request_id":"r"}', TurnStart("r")),
            ('{"type":"turn.update","transcript":"Hey","request_id":"r"}', TurnUpdate("Hey", "r")),
            (
                '{"type":"turn.eager_end","transcript":"Hey?","request_id":"r"}',
                TurnEagerEnd("Hey?", "r"),
            ),
            ('{"type":"turn.resume","request_id":"r"}', TurnResume("r")),
            ('{"type":"turn.end","transcript":"Hey?","request_id":"r"}', TurnEnd("Hey?", "r")),
            ('{"type":"turn.end","transcript":""}', TurnEnd("")),
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

    def test_errors_of_older_versions_carry_their_status_as_code(self) -> None:
        message = decode('{"type":"error","message":"No.","code":402}')
        assert message == ErrorMessage(status=402, message="No.")

    @pytest.mark.parametrize("status", ["null", '"400"', "true", "4.5", "[]"])
    def test_an_error_without_a_status_is_the_servers_fault(self, status: str) -> None:
        message = decode(f'{{"type":"error","status_code":{status},"message":"Oops"}}')
        assert message == ErrorMessage(status=500, message="Oops")

    def test_unknown_fields_are_ignored(self) -> None:
        text = '{"type":"turn.end","transcript":"Hi","words":[1],"confidence":0.9}'
        assert decode(text) == TurnEnd("Hi")

    def test_unknown_types_are_told_apart_from_what_cannot_be_read(self) -> None:
        assert decode('{"type":"turn.sentiment","sentiment":"fine"}') == Unknown("turn.sentiment")

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b'{"type":"connected"}', "binary message"),
            ("", "not JSON"),
            ('{"type":"conn', "not JSON"),
            ("[" * 100_000, "not JSON"),
            ('["turn.start"]', "not a JSON object"),
            ("null", "not a JSON object"),
            ("{}", "no type"),
            ('{"type":7}', "no type"),
            ('{"type":"turn.end"}', "turn.end without transcript"),
            ('{"type":"turn.update","transcript":null}', "turn.update without transcript"),
            ('{"type":"turn.eager_end","transcript":["a"]}', "turn.eager_end without transcript"),
        ],
    )
    def test_what_is_not_as_promised_is_malformed(self, data: str | bytes, why: str) -> None:
        assert decode(data) == Malformed(why)

    def test_what_is_wrong_is_told_without_the_users_words(self) -> None:
        for data in ('{"type":"turn.end","transcript":["secret"]}', '"secret', '["secret"]'):
            assert "secret" not in repr(decode(data))

    def test_a_request_id_of_a_wrong_type_is_no_request_id(self) -> None:
        assert decode('{"type":"turn.start","request_id":17}') == TurnStart(None)

    @given(st.text() | st.binary())
    def test_never_raises_on_noise(self, data: str | bytes) -> None:
        assert decode(data) is not None

    @given(st.dictionaries(field_names | st.text(max_size=5), values), types)
    def test_never_raises_on_fields_of_wrong_types(self, fields: dict[str, Any], kind: str) -> None:
        message = decode(json.dumps({**fields, "type": kind}))
        match message:
            case TurnUpdate() | TurnEagerEnd() | TurnEnd():
                assert message.transcript == fields["transcript"]
            case ErrorMessage():
                assert type(message.status) is int
            case Malformed():
                assert not isinstance(fields.get("transcript"), str)
            case _:
                assert kind in ("connected", "turn.start", "turn.resume")

    @given(messages, st.data())
    def test_never_raises_on_half_a_message(
        self, message: WireMessage, data: st.DataObject
    ) -> None:
        text = encode(message)
        cut = data.draw(st.integers(0, len(text) - 1))
        assert decode(text[:cut]) == Malformed("not JSON")


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
    def test_spaces_and_marks_are_neither_stripped_nor_normalised(self, text: str) -> None:
        message = decode(json.dumps({"type": "turn.end", "transcript": text}))
        assert message == TurnEnd(text)

    def test_absent_fields_are_left_out(self) -> None:
        assert json.loads(encode(TurnStart())) == {"type": "turn.start"}
        assert json.loads(encode(ErrorMessage(500, "Oops", "Error"))) == {
            "type": "error",
            "title": "Error",
            "message": "Oops",
            "status_code": 500,
        }

    def test_what_only_a_client_knows_is_not_written(self) -> None:
        text = encode(TurnEnd("Hi", "r", Timing(1, 2.0)))
        assert json.loads(text) == {"type": "turn.end", "transcript": "Hi", "request_id": "r"}


def test_events_are_values() -> None:
    event = TurnUpdate("Hi")
    with pytest.raises(FrozenInstanceError):
        event.transcript = "Ho"  # type: ignore[misc]
    assert {event: 1}[TurnUpdate("Hi")] == 1
