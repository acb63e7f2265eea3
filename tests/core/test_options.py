"""What a connection is opened with: its URL, and what is wrong with an argument at the call."""

from __future__ import annotations

import math
import pickle
from dataclasses import fields
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.uri import parse_uri

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.options import ManualOptions, Resilience, TurnSettings, TurnsOptions

SECRET = "sk_car_0123456789abcdef"


Kind = type[TurnsOptions] | type[ManualOptions]
KINDS = pytest.mark.parametrize("kind", [TurnsOptions, ManualOptions])


def query(options: TurnsOptions, token: str | None = None) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(options.url(token)).query, strict_parsing=True)


class TestUrl:
    def test_nothing_is_sent_that_the_user_did_not_set(self) -> None:
        assert TurnsOptions().url() == (
            "wss://api.cartesia.ai/stt/turns/websocket"
            "?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
        )

    def test_all_parameters(self) -> None:
        options = TurnsOptions(
            model="ink-preview",
            encoding="pcm_mulaw",
            sample_rate=8000,
            keyterms=["Cartesia", "table for two"],
            turn=TurnSettings(
                turn_start_threshold=0.7,
                turn_eager_end_threshold=0.6,
                turn_end_threshold=0.4,
                turn_end_timeout_ms=4500,
            ),
        )
        assert query(options) == [
            ("model", "ink-preview"),
            ("encoding", "pcm_mulaw"),
            ("sample_rate", "8000"),
            ("turn_start_threshold", "0.7"),
            ("turn_eager_end_threshold", "0.6"),
            ("turn_end_threshold", "0.4"),
            ("turn_end_timeout_ms", "4500"),
            ("keyterm", "Cartesia"),
            ("keyterm", "table for two"),
        ]

    def test_one_threshold_is_sent_alone(self) -> None:
        options = TurnsOptions(turn=TurnSettings(turn_end_threshold=0.25))
        assert query(options)[3:] == [("turn_end_threshold", "0.25")]

    def test_a_space_in_a_keyterm_is_percent_20(self) -> None:
        url = TurnsOptions(keyterms=["table for two"]).url()
        assert url.endswith("&keyterm=table%20for%20two")

    @given(st.lists(st.text(min_size=1, max_size=12).filter(str.strip), max_size=8))
    def test_keyterms_arrive_as_they_are_written(self, terms: list[str]) -> None:
        sent = [value for name, value in query(TurnsOptions(keyterms=terms)) if name == "keyterm"]
        assert sent == terms

    @pytest.mark.parametrize("encoding", Encoding)
    def test_all_six_encodings_by_member_or_by_name(self, encoding: Encoding) -> None:
        for given_as in (encoding, encoding.value):
            options = TurnsOptions(encoding=given_as, sample_rate=8000)
            assert ("encoding", encoding.value) in query(options)
            assert options.format == AudioFormat(encoding, 8000)

    def test_only_a_short_lived_token_is_in_the_url(self) -> None:
        assert ("access_token", "tok en+1") in query(TurnsOptions(), "tok en+1")
        assert "access_token" not in TurnsOptions().url()

    @KINDS
    def test_a_base_url_may_be_the_address_of_the_other_endpoint(self, kind: Kind) -> None:
        for path in ("", "/", "/stt/turns/websocket", "/stt/websocket"):
            url = kind(base_url=f"https://proxy.example/ink{path}").url()
            assert url.partition("?")[0] == f"wss://proxy.example/ink{kind.path}"

    def test_the_endpoints_have_the_paths_of_the_api(self) -> None:
        assert TurnsOptions.path == "/stt/turns/websocket"
        assert ManualOptions.path == "/stt/websocket"

    def test_the_environment_names_the_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CARTESIA_BASE_URL", "http://127.0.0.1:1")
        assert TurnsOptions().url().startswith("ws://127.0.0.1:1/stt/turns/websocket?")
        monkeypatch.setenv("CARTESIA_BASE_URL", "")
        assert TurnsOptions().base_url == "https://api.cartesia.ai"


class TestManualUrl:
    def test_no_default_is_sent(self) -> None:
        url = ManualOptions(keyterms=["two words"]).url("tok")
        assert url == (
            "wss://api.cartesia.ai/stt/websocket?model=ink-2&encoding=pcm_s16le"
            "&sample_rate=16000&keyterm=two%20words&access_token=tok"
        )

    def test_all_parameters(self) -> None:
        options = ManualOptions(
            model="ink-whisper",
            language="de-AT",
            min_volume=0.1,
            max_silence_duration_secs=1.5,
            base_url="https://example.com/stt/turns/websocket",
        )
        assert options.url() == (
            "wss://example.com/stt/websocket?model=ink-whisper&encoding=pcm_s16le"
            "&sample_rate=16000&language=de&min_volume=0.1&max_silence_duration_secs=1.5"
        )

    @pytest.mark.parametrize("value", [0, 0.0, 1, 1.0])
    def test_the_bounds_of_min_volume_are_within(self, value: float) -> None:
        url = ManualOptions(model="ink-whisper", min_volume=value).url()
        assert url.endswith(f"&min_volume={value:g}")


class TestBadInput:
    @KINDS
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"encoding": "linear16"}, "encoding"),
            ({"encoding": ""}, "encoding"),
            ({"sample_rate": 16}, "sample_rate"),
            ({"sample_rate": "16000"}, "sample_rate"),
            ({"keyterms": "Cartesia"}, "keyterms"),
            ({"keyterms": ["a"] * 101}, "keyterms"),
            ({"base_url": 5}, "base_url"),
            ({"base_url": "ftp://api.cartesia.ai"}, "base_url"),
            ({"cartesia_version": ""}, "cartesia_version"),
            ({"extra_headers": {"Host": "elsewhere"}}, "extra_headers"),
        ],
    )
    def test_the_argument_is_named(self, kind: Kind, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(UsageError, match=rf"^{named}: "):
            kind(**arguments)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"language": "English\n"}, "language"),
            ({"model": "ink-whisper", "min_volume": 2.0}, "min_volume"),
            ({"model": "ink-whisper", "min_volume": -0.1}, "min_volume"),
            ({"model": "ink-whisper", "max_silence_duration_secs": 0.0}, "max_silence"),
            ({"model": "ink-whisper", "max_silence_duration_secs": -1}, "max_silence"),
        ],
    )
    def test_so_are_the_arguments_of_the_manual_endpoint(
        self, arguments: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(UsageError, match=rf"^{named}"):
            ManualOptions(**arguments)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"turn_start_threshold": 0.0}, "turn_start_threshold"),
            ({"turn_start_threshold": 1.0}, "turn_start_threshold"),
            ({"turn_eager_end_threshold": 60}, "turn_eager_end_threshold"),
            ({"turn_end_threshold": -0.1}, "turn_end_threshold"),
            ({"turn_end_threshold": float("nan")}, "turn_end_threshold"),
            ({"turn_end_timeout_ms": 0}, "turn_end_timeout_ms"),
            ({"turn_end_timeout_ms": float("inf")}, "turn_end_timeout_ms"),
            ({"turn_end_timeout_ms": "5600"}, "turn_end_timeout_ms"),
            ({"turn_start_threshold": "0.7"}, "turn_start_threshold"),
            (
                {"turn_start_threshold": 0.5, "turn_eager_end_threshold": 0.6},
                "turn_start_threshold",
            ),
            (
                {"turn_eager_end_threshold": 0.3, "turn_end_threshold": 0.3},
                "turn_eager_end_threshold",
            ),
            ({"turn_start_threshold": 0.5, "turn_end_threshold": 0.5}, "turn_start_threshold"),
        ],
    )
    def test_thresholds_must_be_in_order(self, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(UsageError, match=rf"^{named}: "):
            TurnSettings(**arguments)

    @pytest.mark.parametrize(
        "profile",
        [
            (0.8, 0.6, 0.3, 5600),
            (0.7, 0.6, 0.4, 4500),
            (0.8, 0.3, 0.1, 8000),
            (0.95, 0.9, 0.01, 60_000),
        ],
    )
    def test_ranges_are_left_to_the_server(self, profile: tuple[float, float, float, int]) -> None:
        TurnSettings(
            turn_start_threshold=profile[0],
            turn_eager_end_threshold=profile[1],
            turn_end_threshold=profile[2],
            turn_end_timeout_ms=profile[3],
        )

    @KINDS
    def test_a_list_that_changes_later_changes_nothing(self, kind: Kind) -> None:
        terms = ["one"]
        options = kind(keyterms=terms)
        terms.append("two")
        assert options.keyterms == ("one",)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"catch_up_rate": 0.5}, "catch_up_rate"),
            ({"replay_buffer_seconds": 0}, "replay_buffer_seconds"),
            ({"connect_timeout": -1}, "connect_timeout"),
            ({"drain_timeout": 0}, "drain_timeout"),
            ({"stall_timeout": 0}, "stall_timeout"),
            ({"min_message_seconds": -0.01}, "min_message_seconds"),
            ({"min_message_seconds": 0.2}, "min_message_seconds"),
            ({"idle": "never"}, "idle"),
            *(
                ({name: value}, name)
                for name in ("catch_up_rate", "replay_buffer_seconds", "connect_timeout")
                for value in (math.nan, "5", None)
            ),
            ({"min_message_seconds": math.nan}, "min_message_seconds"),
            ({"replay_buffer_seconds": math.inf}, "replay_buffer_seconds"),
        ],
    )
    def test_no_resilience_with_which_a_session_could_not_recover(
        self, arguments: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(UsageError, match=rf"^{named}: "):
            Resilience(**arguments)


ANY_TEXT = st.text(alphabet=st.characters(), max_size=12) | st.sampled_from(
    [
        "x\r\nX-Evil: 1",
        "a\ud83d",
        "\x00",
        "é",
        "a..b",
        "@0",
        "https://@h",
        "x" * 64,
        "http://" + "é" * 80,
        "a b",
        "#",
    ]
)


class TestAnyString:
    """Text is either an error at the call, or it can be sent as it is."""

    @KINDS
    @given(text=ANY_TEXT)
    def test_is_refused_or_can_be_sent(self, kind: Kind, text: str) -> None:
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind) if hints[field.name] in (str, str | None)]
        assert {"model", "base_url", "cartesia_version"} <= set(names)
        for name in names:
            self.check(kind, name, {name: text})
        self.check(kind, "keyterms", {"keyterms": [text]})
        self.check(kind, "encoding", {"encoding": text})
        self.check(kind, "extra_headers", {"extra_headers": {"X-Tenant": text}})
        self.check(kind, "extra_headers", {"extra_headers": {text: "x"}})

    def check(self, kind: Kind, name: str, arguments: dict[str, Any]) -> None:
        try:
            options = kind(**arguments)
        except UsageError as error:
            assert str(error).startswith(f"{name}: ")
            assert str(error).isprintable()
            return
        uri = parse_uri(options.url())
        for sent in (uri.host.encode("idna").decode(), uri.resource_name, options.cartesia_version):
            assert sent.isascii() and sent.isprintable()
        for sent in (*options.extra_headers, *options.extra_headers.values()):
            assert sent.isascii() and sent.isprintable()


class TestTurnSettings:
    def test_changes_replace_what_they_set(self) -> None:
        settings = TurnSettings(turn_start_threshold=0.8, turn_end_threshold=0.3)
        changed = settings.updated(TurnSettings(turn_end_threshold=0.4, turn_end_timeout_ms=900))
        assert changed == TurnSettings(
            turn_start_threshold=0.8, turn_end_threshold=0.4, turn_end_timeout_ms=900
        )

    def test_changes_that_break_the_order_are_an_error(self) -> None:
        with pytest.raises(UsageError, match=r"^turn_eager_end_threshold: "):
            TurnSettings(turn_eager_end_threshold=0.4).updated(TurnSettings(turn_end_threshold=0.5))

    def test_config_drops_the_prefix_and_has_only_what_is_set(self) -> None:
        settings = TurnSettings(turn_eager_end_threshold=0.6, turn_end_timeout_ms=5600)
        assert settings.config() == {"eager_end_threshold": 0.6, "end_timeout_ms": 5600}
        assert TurnSettings().config() == {}


class TestExtraHeaders:
    @KINDS
    def test_are_copied_and_never_printed(self, kind: Kind) -> None:
        given = {"X-Tenant": SECRET}
        options = kind(extra_headers=given)
        given["X-Tenant"] = "changed later"
        assert options.extra_headers == {"X-Tenant": SECRET}
        assert SECRET not in repr(options)
        assert SECRET not in options.url()

    @KINDS
    def test_an_error_does_not_have_the_value(self, kind: Kind) -> None:
        with pytest.raises(UsageError, match=r"^extra_headers: ") as error:
            kind(extra_headers={"X-Tenant": f"{SECRET}\r\nX-API-Key: other"})
        assert SECRET not in str(error.value)


class TestMaxEndSilence:
    def test_is_the_timeout_that_was_set(self) -> None:
        assert TurnSettings(turn_end_timeout_ms=4500).max_end_silence == 4.5

    def test_is_the_largest_that_the_api_takes_if_none_was_set(self) -> None:
        assert TurnSettings().max_end_silence == 11.2


def test_options_are_values() -> None:
    options = TurnsOptions(keyterms=["a"], turn=TurnSettings(turn_end_threshold=0.3))
    assert options == TurnsOptions(keyterms=("a",), turn=TurnSettings(turn_end_threshold=0.3))
    assert pickle.loads(pickle.dumps(options)) == options
    assert len({options, TurnsOptions()}) == 2
    manual = ManualOptions(language="en-US", keyterms=["a"])
    assert manual == ManualOptions(language="en", keyterms=("a",))
    assert pickle.loads(pickle.dumps(manual)) == manual
