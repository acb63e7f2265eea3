"""How a connection authenticates; no part of it is ever printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from cartesia_ink_plugins.core.credentials import Credentials, TokenProvider
from cartesia_ink_plugins.core.errors import UsageError

SECRET = "sk_car_0123456789abcdef"


async def provider() -> str:
    return "fresh"


class TestExactlyOne:
    @pytest.mark.parametrize("arguments", [{}, {"api_key": ""}, {"api_key": None}])
    def test_none_at_all_is_an_error(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=r"^api_key: .*CARTESIA_API_KEY"):
            Credentials(**arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"api_key": SECRET, "access_token": "t"},
            {"access_token": "t", "token_provider": provider},
            {"api_key": SECRET, "token_provider": provider},
            {"api_key": SECRET, "access_token": "t", "token_provider": provider},
        ],
    )
    def test_more_than_one_is_an_error(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="only one") as error:
            Credentials(**arguments)
        assert SECRET not in str(error.value)

    @pytest.mark.parametrize("key", [f"{SECRET}\n", f"{SECRET}\r\nX: y", f"{SECRET}é"])
    def test_a_key_that_a_header_cannot_carry_is_an_error(self, key: str) -> None:
        with pytest.raises(UsageError, match=r"^api_key: ") as error:
            Credentials(api_key=key)
        assert SECRET not in str(error.value)
        with pytest.raises(UsageError, match=r"^access_token: ") as error:
            Credentials(access_token=key)
        assert SECRET not in str(error.value)

    @pytest.mark.parametrize("token", [f"{SECRET}\r\nX: y", "t\ud83d"])
    async def test_so_is_a_token_of_a_provider(self, token: str) -> None:
        async def provider() -> str:
            return token

        with pytest.raises(UsageError, match=r"^token_provider: ") as error:
            await Credentials(token_provider=provider).token()
        assert SECRET not in str(error.value)

    def test_the_environment_may_have_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CARTESIA_API_KEY", raising=False)
        with pytest.raises(UsageError, match="CARTESIA_API_KEY"):
            Credentials.from_environment()
        monkeypatch.setenv("CARTESIA_API_KEY", SECRET)
        assert Credentials.from_environment().headers() == {"X-API-Key": SECRET}


class TestWhereItIsSent:
    async def test_a_key_only_in_a_header(self) -> None:
        credentials = Credentials(api_key=SECRET)
        assert credentials.headers() == {"X-API-Key": SECRET}
        assert await credentials.token() is None

    async def test_a_token_only_in_the_url(self) -> None:
        credentials = Credentials(access_token="t")
        assert credentials.headers() == {}
        assert await credentials.token() == "t"

    async def test_a_provider_is_called_every_time(self) -> None:
        tokens = iter(["one", "two"])

        async def provider() -> str:
            return next(tokens)

        credentials = Credentials(token_provider=provider)
        assert credentials.headers() == {}
        assert [await credentials.token(), await credentials.token()] == ["one", "two"]

    @pytest.mark.parametrize("token", ["", "  ", None, 17, b"token"])
    async def test_a_provider_must_return_a_token(self, token: object) -> None:
        async def provider() -> object:
            return token

        credentials = Credentials(token_provider=cast("TokenProvider", provider))
        with pytest.raises(UsageError, match=r"^token_provider: returned no token"):
            await credentials.token()

    async def test_a_provider_must_be_async(self) -> None:
        def provider() -> str:
            return SECRET

        plain = cast("TokenProvider", cast("Callable[[], object]", provider))
        with pytest.raises(UsageError, match=r"^token_provider: must be an async") as error:
            await Credentials(token_provider=plain).token()
        assert SECRET not in str(error.value)


class TestSecrecy:
    def test_nothing_of_it_is_ever_printed(self) -> None:
        for credentials in (Credentials(api_key=SECRET), Credentials(access_token=SECRET)):
            for text in (repr(credentials), str(credentials), f"{credentials!r:>5}"):
                assert SECRET not in text

    def test_it_is_replaced_in_text_from_elsewhere(self) -> None:
        for credentials in (Credentials(api_key=SECRET), Credentials(access_token=SECRET)):
            redact = credentials.redactor()
            assert redact(f"bad key {SECRET}!") == "bad key ***!"
            assert redact("no secret") == "no secret"
