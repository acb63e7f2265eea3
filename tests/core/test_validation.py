"""Checks of options: what passes, what is an error, and that each error names the argument."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.validation import (
    is_text,
    language_code,
    validate_sample_rate,
    validate_version,
    validated_headers,
    validated_keyterms,
    websocket_url,
)

SECRET = "sk_car_0123456789abcdef"
PATH = "/stt/turns/websocket"


class TestBaseUrl:
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
    def test_any_form_becomes_a_websocket_address(self, base_url: str, address: str) -> None:
        assert websocket_url(base_url, PATH) == f"{address}{PATH}"

    @pytest.mark.parametrize(
        "base_url",
        [
            "",
            "https://",
            "ftp://api.cartesia.ai",
            "https://api.cartesia.ai?model=ink-2",
            "https://api.cartesia.ai:port",
            "https://api.cartesia.ai:0",
            "https://api.cartesia.ai:99999",
            "https://[::1",
            "https://@api.cartesia.ai",
            "https://a..b",
            "https://api.cartesia.ai ",
            "https://api.\ncartesia.ai",
            5,
            None,
        ],
    )
    def test_what_leads_to_no_websocket_is_an_error(self, base_url: Any) -> None:
        with pytest.raises(UsageError, match=r"^base_url: "):
            websocket_url(base_url, PATH)

    @pytest.mark.parametrize(
        "base_url", [f"https://user:{SECRET}@api.cartesia.ai", f"ftp://x?access_token={SECRET}"]
    )
    def test_a_secret_in_it_is_not_repeated(self, base_url: str) -> None:
        with pytest.raises(UsageError, match=r"^base_url: ") as error:
            websocket_url(base_url, PATH)
        assert SECRET not in str(error.value)

    @given(st.text(max_size=30))
    def test_any_text_is_an_address_or_an_error_of_ours(self, base_url: str) -> None:
        try:
            assert websocket_url(base_url, PATH).startswith(("ws://", "wss://"))
        except UsageError as error:
            assert str(error).startswith("base_url: ")


class TestKeyterms:
    @pytest.mark.parametrize("terms", [["a"] * 100, ["a" * 400] * 3, [], ("x",), {"x": 1}])
    def test_as_many_as_the_api_takes_become_a_tuple(self, terms: Any) -> None:
        assert validated_keyterms(terms) == tuple(terms)

    @pytest.mark.parametrize(
        ("terms", "why"),
        [
            ("Cartesia", "one string"),
            (["a", " "], "empty"),
            (["a", ""], "empty"),
            (None, "not a list"),
            (17, "not a list"),
            (["a", 5], "not a string"),
            (["a\ud83d"], "surrogate"),
            (["a"] * 101, "at most 100"),
            (["a" * 400] * 3 + ["b"], "at most 1200"),
        ],
    )
    def test_what_the_api_does_not_take_is_an_error(self, terms: Any, why: str) -> None:
        with pytest.raises(UsageError, match=rf"^keyterms: .*{why}"):
            validated_keyterms(terms)


class TestLanguage:
    @pytest.mark.parametrize(
        ("language", "code"),
        [
            (None, None),
            ("en", "en"),
            ("EN", "en"),
            ("en-US", "en"),
            ("pt_BR", "pt"),
            ("zh-Hant-TW", "zh"),
            ("yue", "yue"),
        ],
    )
    def test_the_region_is_left_out(self, language: str | None, code: str | None) -> None:
        assert language_code(language) == code

    @pytest.mark.parametrize("language", ["auto", "multi", "English", "x-klingon", "e1", "ée"])
    def test_what_is_no_code_is_for_the_server_to_judge(self, language: str) -> None:
        assert language_code(language) == language

    @pytest.mark.parametrize("language", ["", "en\r\n", "\ud83d", 7])
    def test_what_cannot_be_sent_is_an_error(self, language: Any) -> None:
        with pytest.raises(UsageError, match=r"^language: "):
            language_code(language)


class TestSampleRate:
    @pytest.mark.parametrize("rate", [1_000, 8_000, 16_000, 44_100, 384_000])
    def test_a_rate_in_hertz_passes(self, rate: int) -> None:
        validate_sample_rate(rate)

    @pytest.mark.parametrize("rate", [0, 16, 999, 384_001, -16_000, 16_000.5, "16000", None, True])
    def test_anything_else_is_an_error(self, rate: object) -> None:
        with pytest.raises(UsageError, match=r"^sample_rate: "):
            validate_sample_rate(rate)


class TestVersion:
    def test_a_date_passes(self) -> None:
        validate_version("2026-03-01")

    @pytest.mark.parametrize("version", ["", "2026-03-01\r\nX-API-Key: x", "é", None, 20260301])
    def test_what_a_header_cannot_carry_is_an_error(self, version: object) -> None:
        with pytest.raises(UsageError, match=r"^cartesia_version: "):
            validate_version(version)


class TestHeaders:
    def test_they_are_copied(self) -> None:
        headers = {"X-Tenant": "one"}
        validated = validated_headers(headers)
        assert validated == headers
        assert validated is not headers

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("authorization", "Bearer other"),
            ("X-API-KEY", "other"),
            ("Cartesia-Version", "2020-01-01"),
            ("Host", "elsewhere"),
            ("Connection", "close"),
            ("Upgrade", "h2c"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("Sec-WebSocket-Protocol", "chat"),
            ("X-Tenant: a\r\nX-API-Key", "other"),
            ("", "nameless"),
            (7, "numbered"),
            ("X-Tenant", f"{SECRET}\r\nX-API-Key: other"),
            ("X-Tenant", f"{SECRET}é"),
            ("X-Tenant", 7),
        ],
    )
    def test_what_would_break_the_request_is_an_error_without_the_value(
        self, name: Any, value: Any
    ) -> None:
        with pytest.raises(UsageError, match=r"^extra_headers: ") as error:
            validated_headers({name: value})
        assert SECRET not in str(error.value)


@given(st.text(alphabet=st.characters()))
def test_text_is_what_can_be_encoded(text: str) -> None:
    assert is_text(text) is (text == text.encode(errors="replace").decode())
    assert not is_text(text + "\ud83d")
