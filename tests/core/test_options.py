"""What a connection is opened with: its URL, its credentials, and what is refused at the call."""

from __future__ import annotations

import pickle
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.options import ManualOptions, Resilience, TurnSettings, TurnsOptions

SECRET = "sk_car_0123456789abcdef"


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
    def test_all_six_encodings_by_name_or_by_value(self, encoding: Encoding) -> None:
        for given_as in (encoding, encoding.value):
            options = TurnsOptions(encoding=given_as, sample_rate=8000)
            assert ("encoding", encoding.value) in query(options)
            assert options.format == AudioFormat(encoding, 8000)

    def test_only_a_short_lived_token_stands_in_the_url(self) -> None:
        assert ("access_token", "tok en+1") in query(TurnsOptions(), "tok en+1")
        assert "access_token" not in TurnsOptions().url()

    @pytest.mark.parametrize(
        ("base_url", "address"),
        [
            ("https://api.cartesia.ai", "wss://api.cartesia.ai"),
            ("https://api.cartesia.ai/", "wss://api.cartesia.ai"),
            ("wss://api.cartesia.ai", "wss://api.cartesia.ai"),
            ("api.cartesia.ai", "wss://api.cartesia.ai"),
            ("localhost:8080", "wss://localhost:8080"),
            ("http://127.0.0.1:8765", "ws://127.0.0.1:8765"),
            ("ws://[::1]:8765", "ws://[::1]:8765"),
            ("https://proxy.example/ink/v1/", "wss://proxy.example/ink/v1"),
            ("wss://api.cartesia.ai/stt/turns/websocket", "wss://api.cartesia.ai"),
            ("wss://api.cartesia.ai/stt/websocket", "wss://api.cartesia.ai"),
        ],
    )
    def test_a_base_url_in_any_form(self, base_url: str, address: str) -> None:
        url = TurnsOptions(base_url=base_url).url()
        assert url.partition("?")[0] == f"{address}/stt/turns/websocket"

    def test_the_environment_can_say_where(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CARTESIA_BASE_URL", "http://127.0.0.1:1")
        assert TurnsOptions().url().startswith("ws://127.0.0.1:1/stt/turns/websocket?")
        monkeypatch.setenv("CARTESIA_BASE_URL", "")
        assert TurnsOptions().base_url == "https://api.cartesia.ai"


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"encoding": "linear16"}, "encoding"),
            ({"encoding": ""}, "encoding"),
            ({"model": ""}, "model"),
            ({"model": "ink-whisper"}, "model"),
            ({"sample_rate": 0}, "sample_rate"),
            ({"sample_rate": 16}, "sample_rate"),
            ({"sample_rate": -16000}, "sample_rate"),
            ({"sample_rate": 16000.5}, "sample_rate"),
            ({"sample_rate": "16000"}, "sample_rate"),
            ({"keyterms": "Cartesia"}, "keyterms"),
            ({"keyterms": ["a", " "]}, "keyterms"),
            ({"keyterms": None}, "keyterms"),
            ({"keyterms": ["a", 5]}, "keyterms"),
            ({"base_url": 5}, "base_url"),
            ({"keyterms": ["a"] * 101}, "keyterms"),
            ({"keyterms": ["a" * 400] * 3 + ["b"]}, "keyterms"),
            ({"base_url": ""}, "base_url"),
            ({"base_url": "https://"}, "base_url"),
            ({"base_url": "ftp://api.cartesia.ai"}, "base_url"),
            ({"base_url": "https://api.cartesia.ai?model=ink-2"}, "base_url"),
            ({"base_url": "https://api.cartesia.ai:port"}, "base_url"),
            ({"base_url": "https://[::1"}, "base_url"),
            ({"base_url": "https://api.cartesia.ai "}, "base_url"),
        ],
    )
    def test_the_argument_is_named(self, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(UsageError, match=rf"^{named}: "):
            TurnsOptions(**arguments)

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
    def test_thresholds_must_stand_in_order(self, arguments: dict[str, Any], named: str) -> None:
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

    @pytest.mark.parametrize("terms", [["a"] * 100, ["a" * 400] * 3, [], ("x",)])
    def test_as_many_keyterms_as_the_api_takes(self, terms: list[str]) -> None:
        assert TurnsOptions(keyterms=terms).keyterms == tuple(terms)

    def test_a_list_that_changes_later_changes_nothing(self) -> None:
        terms = ["one"]
        options = TurnsOptions(keyterms=terms)
        terms.append("two")
        assert options.keyterms == ("one",)

    @pytest.mark.parametrize(
        "secret_url", [f"https://user:{SECRET}@api.cartesia.ai", f"ftp://x?access_token={SECRET}"]
    )
    def test_a_secret_in_a_base_url_is_not_repeated(self, secret_url: str) -> None:
        with pytest.raises(UsageError) as refused:
            TurnsOptions(base_url=secret_url)
        assert SECRET not in str(refused.value)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"catch_up_rate": 0.5}, "catch_up_rate"),
            ({"ledger_seconds": 0}, "ledger_seconds"),
            ({"dial_timeout": -1}, "dial_timeout"),
            ({"drain_timeout": 0}, "drain_timeout"),
            ({"stall_timeout": 0}, "stall_timeout"),
            ({"idle": "never"}, "idle"),
        ],
    )
    def test_no_resilience_that_makes_a_session_deaf(
        self, arguments: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(UsageError, match=rf"^{named}: "):
            Resilience(**arguments)


class TestTurnSettings:
    def test_changes_are_laid_over(self) -> None:
        settings = TurnSettings(turn_start_threshold=0.8, turn_end_threshold=0.3)
        changed = settings.updated(TurnSettings(turn_end_threshold=0.4, turn_end_timeout_ms=900))
        assert changed == TurnSettings(
            turn_start_threshold=0.8, turn_end_threshold=0.4, turn_end_timeout_ms=900
        )

    def test_changes_that_break_the_order_are_refused(self) -> None:
        with pytest.raises(UsageError, match=r"^turn_eager_end_threshold: "):
            TurnSettings(turn_eager_end_threshold=0.4).updated(TurnSettings(turn_end_threshold=0.5))

    def test_config_drops_the_prefix_and_has_only_what_is_set(self) -> None:
        settings = TurnSettings(turn_eager_end_threshold=0.6, turn_end_timeout_ms=5600)
        assert settings.config() == {"eager_end_threshold": 0.6, "end_timeout_ms": 5600}
        assert TurnSettings().config() == {}


class TestCredentials:
    async def provider(self) -> str:
        return "fresh"

    @pytest.mark.parametrize("arguments", [{}, {"api_key": ""}, {"api_key": None}])
    def test_none_at_all(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=r"^api_key: .*CARTESIA_API_KEY"):
            Credentials(**arguments)

    def test_more_than_one(self) -> None:
        for arguments in (
            {"api_key": SECRET, "access_token": "t"},
            {"access_token": "t", "token_provider": self.provider},
            {"api_key": SECRET, "access_token": "t", "token_provider": self.provider},
        ):
            with pytest.raises(UsageError, match="only one") as refused:
                Credentials(**arguments)
            assert SECRET not in str(refused.value)

    @pytest.mark.parametrize("key", [f"{SECRET}\n", f"{SECRET}\r\nX: y", f"{SECRET}é"])
    def test_a_key_that_cannot_stand_in_a_header(self, key: str) -> None:
        with pytest.raises(UsageError, match=r"^api_key: ") as refused:
            Credentials(api_key=key)
        assert SECRET not in str(refused.value)

    async def test_a_key_goes_into_a_header_and_nowhere_else(self) -> None:
        credentials = Credentials(api_key=SECRET)
        assert credentials.headers() == {"X-API-Key": SECRET}
        assert await credentials.token() is None

    async def test_a_token_goes_nowhere_else_than_into_the_url(self) -> None:
        credentials = Credentials(access_token="t")
        assert credentials.headers() == {}
        assert await credentials.token() == "t"

    async def test_a_provider_is_asked_every_time(self) -> None:
        tokens = iter(["one", "two"])

        async def provider() -> str:
            return next(tokens)

        credentials = Credentials(token_provider=provider)
        assert credentials.headers() == {}
        assert [await credentials.token(), await credentials.token()] == ["one", "two"]

    def test_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UsageError, match="CARTESIA_API_KEY"):
            Credentials.from_environment()
        monkeypatch.setenv("CARTESIA_API_KEY", SECRET)
        assert Credentials.from_environment().headers() == {"X-API-Key": SECRET}

    def test_nothing_of_it_is_ever_printed(self) -> None:
        for credentials in (Credentials(api_key=SECRET), Credentials(access_token=SECRET)):
            for text in (repr(credentials), str(credentials), f"{credentials!r:>5}"):
                assert SECRET not in text

    def test_text_of_others_is_redacted(self) -> None:
        for credentials in (Credentials(api_key=SECRET), Credentials(access_token=SECRET)):
            assert credentials.redact(f"bad key {SECRET}!") == "bad key ***!"
            assert credentials.redact("all well") == "all well"


class TestExtraHeaders:
    KINDS = pytest.mark.parametrize("kind", [TurnsOptions, ManualOptions])

    @KINDS
    def test_are_taken_as_they_are_and_never_printed(
        self, kind: type[TurnsOptions | ManualOptions]
    ) -> None:
        given = {"X-Tenant": SECRET}
        options = kind(extra_headers=given)
        given["X-Tenant"] = "changed later"
        assert options.extra_headers == {"X-Tenant": SECRET}
        assert SECRET not in repr(options)
        assert SECRET not in options.url()

    @KINDS
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("authorization", "Bearer other"),
            ("X-API-KEY", "other"),
            ("Cartesia-Version", "2020-01-01"),
            ("Host", "elsewhere"),
            ("Sec-WebSocket-Protocol", "chat"),
            ("X-Tenant: a\r\nX-API-Key", "other"),
            ("", "nameless"),
            ("X-Tenant", f"{SECRET}\r\nX-API-Key: other"),
            ("X-Tenant", f"{SECRET}é"),
            ("X-Tenant", 7),
        ],
    )
    def test_what_would_break_the_request_is_refused_without_its_value(
        self, kind: type[TurnsOptions | ManualOptions], name: str, value: Any
    ) -> None:
        with pytest.raises(UsageError, match=r"^extra_headers: ") as refused:
            kind(extra_headers={name: value})
        assert SECRET not in str(refused.value)


def test_options_are_values() -> None:
    options = TurnsOptions(keyterms=["a"], turn=TurnSettings(turn_end_threshold=0.3))
    assert options == TurnsOptions(keyterms=("a",), turn=TurnSettings(turn_end_threshold=0.3))
    assert pickle.loads(pickle.dumps(options)) == options
    assert len({options, TurnsOptions()}) == 2
