"""What a connection may ask for. https://docs.cartesia.ai/api-reference/stt/turns/websocket."""

from __future__ import annotations

import json

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.server.engine import TurnThresholds
from cartesia_ink_plugins.server.rules import OLDER_RANGES, Rules
from cartesia_ink_plugins.server.validate import (
    Command,
    RequestRejectedError,
    parse_query,
    parse_text,
)

NEEDED = [("model", "ink-2"), ("encoding", "pcm_s16le"), ("sample_rate", "16000")]
RULES = Rules()


def query(*changes: tuple[str, str | None]) -> list[tuple[str, str]]:
    given = {**dict(NEEDED), **dict(changes)}
    return [(name, value) for name, value in given.items() if value is not None]


def refusal(pairs: list[tuple[str, str]], rules: Rules = RULES) -> RequestRejectedError:
    with pytest.raises(RequestRejectedError) as refused:
        parse_query(pairs, rules)
    return refused.value


def test_the_least_that_must_be_asked_for() -> None:
    request = parse_query(NEEDED, RULES)
    assert request.format == AudioFormat(Encoding.PCM_S16LE, 16_000)
    assert request.thresholds == TurnThresholds(start=0.8, eager_end=0.6, end=0.3, timeout_ms=5600)
    assert request.keyterms == ()


def test_everything_that_can_be_asked_for() -> None:
    request = parse_query(
        [
            *query(("model", "ink-preview"), ("encoding", "pcm_mulaw"), ("sample_rate", "8000")),
            ("turn_start_threshold", "0.9"),
            ("turn_eager_end_threshold", "0.8"),
            ("turn_end_threshold", "0.05"),
            ("turn_end_timeout_ms", "11200"),
            ("keyterm", "Cartesia"),
            ("keyterm", "table for two"),
            ("something_new", "1"),
        ],
        RULES,
    )
    assert request.format == AudioFormat(Encoding.PCM_MULAW, 8_000)
    assert request.thresholds == TurnThresholds(
        start=0.9, eager_end=0.8, end=0.05, timeout_ms=11200
    )
    assert request.keyterms == ("Cartesia", "table for two")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("model", None), "model is required"),
        (("model", ""), "model is required"),
        (("model", "nova-3"), "valid model"),
        (("model", "ink-whisper"), "valid model"),
        (("encoding", None), "encoding is required"),
        (("encoding", "opus"), "encoding must be one of"),
        (("sample_rate", None), "sample_rate is required"),
        (("sample_rate", "16k"), "sample_rate must"),
        (("sample_rate", "0"), "sample_rate must"),
        (("sample_rate", "-16000"), "sample_rate must"),
        (("sample_rate", "²"), "sample_rate must"),
        (("sample_rate", "9" * 5_000), "sample_rate must"),
        (("turn_start_threshold", "loud"), "turn_start_threshold must be a number"),
        (("turn_start_threshold", "0.95"), "turn_start_threshold must be between 0.5 and 0.9"),
        (("turn_start_threshold", "nan"), "turn_start_threshold must be between"),
        (("turn_eager_end_threshold", "0.9"), "turn_eager_end_threshold must be between"),
        (("turn_end_threshold", "0.01"), "turn_end_threshold must be between 0.05 and 0.5"),
        (("turn_end_timeout_ms", "100"), "turn_end_timeout_ms must be between 640 and 11200"),
        (("turn_end_timeout_ms", "inf"), "turn_end_timeout_ms must be between"),
        (("turn_eager_end_threshold", "0.3"), "must be greater than"),
        (("turn_start_threshold", "0.6"), "must be greater than"),
    ],
)
def test_what_is_wrong_is_named(change: tuple[str, str | None], words: str) -> None:
    refused = refusal(query(change))
    assert words in refused.answer.message
    assert refused.answer.status == 400
    assert refused.answer.title


def test_an_unknown_model_has_the_code_of_the_api() -> None:
    assert refusal(query(("model", "nova-3"))).answer.code == "model_not_found"


def test_keyterms_are_limited_in_number_and_in_length() -> None:
    many = [*NEEDED, *[("keyterm", "x")] * 101]
    assert "101" in refusal(many).answer.message
    assert parse_query(many[:-1], RULES).keyterms == ("x",) * 100
    long = [*NEEDED, ("keyterm", "x" * 600), ("keyterm", "x" * 601)]
    assert "1201" in refusal(long).answer.message


def test_the_ranges_before_september_2026_can_be_played() -> None:
    older = Rules(ranges=OLDER_RANGES)
    wide = query(("turn_eager_end_threshold", "0.7"))
    assert "between 0.3 and 0.6" in refusal(wide, older).answer.message
    assert parse_query(wide, RULES).thresholds.eager_end == 0.7


def config(**turn: object) -> str:
    return json.dumps({"type": "config", "turn": turn})


def test_config_changes_only_what_it_names() -> None:
    current = TurnThresholds(start=0.7, timeout_ms=2000)
    changed = parse_text(config(eager_end_threshold=0.5, end_timeout_ms=640), current, RULES)
    assert changed == TurnThresholds(start=0.7, eager_end=0.5, end=0.3, timeout_ms=640)
    assert parse_text(config(), current, RULES) == current


@pytest.mark.parametrize(
    "text",
    [
        "close",
        "[1]",
        "null",
        "{}",
        '{"type": "finalize"}',
        '{"type": "keepalive"}',
        '{"type": 3}',
        '{"type": "config"}',
        '{"type": "config", "turn": [1]}',
        config(start_threshold="0.7"),
        config(start_threshold=True),
        config(start_threshold=None),
        config(start_threshold=0.2),
        config(start_threshold=10**400),
        config(end_threshold=0.5, eager_end_threshold=0.4),
        config(keyterms=["x"]),
        "[" * 100_000,
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(RequestRejectedError) as refused:
        parse_text(text, TurnThresholds(), RULES)
    assert refused.value.answer.status == 400


def test_close_is_json() -> None:
    assert parse_text('{"type":"close"}', TurnThresholds(), RULES) is Command.CLOSE
