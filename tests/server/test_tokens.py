"""Access tokens: made with a key, good for a short time, and for nothing else.

https://docs.cartesia.ai/api-reference/auth/access-token
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from cartesia_ink_plugins import Credentials
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.tokens import Tokens
from cartesia_ink_plugins.server.validate import RequestRejectedError
from tests.server.calling import heard_with

HELLO = Script("Hello there.")
ASKED = {"grants": {"stt": True}, "expires_in": 60}


async def ask(server: InkServer, bearer: str, body: Any = ASKED) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {bearer}"}) as session,
        session.post(f"{server.url}/access-token", json=body) as response,
    ):
        answer = await response.json()
        assert response.headers["X-Request-Id"]
        return response.status, answer


@pytest.mark.parametrize("keys", [["key-123"], None])
async def test_a_client_is_heard_with_a_token_made_for_each_dial(keys: list[str] | None) -> None:
    async with InkServer(HELLO, api_keys=keys) as server:

        async def provide() -> str:
            status, answer = await ask(server, "key-123")
            assert status == 200
            return str(answer["token"])

        heard = await heard_with(server.url, Credentials(token_provider=provide), HELLO)
    assert heard == HELLO.transcripts


async def test_only_a_key_makes_tokens() -> None:
    async with InkServer(HELLO, api_keys=["key-123"]) as server:
        assert (await ask(server, "other"))[0] == 401
        _, answer = await ask(server, "key-123")
        assert (await ask(server, answer["token"]))[0] == 401
        assert answer["token"] not in repr(server.connections)


async def test_what_cannot_be_had_is_an_error_400() -> None:
    async with InkServer(HELLO) as server:
        status, answer = await ask(server, "any", {"grants": {"stt": True}, "expires_in": 7200})
        assert (status, answer["status_code"]) == (400, 400)
        assert "1 to 3600" in answer["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "grants.stt"),
        (b'{"expires_in": 60}', "grants.stt"),
        (b'{"grants": {"tts": true}, "expires_in": 60}', "grants.stt"),
        (b'{"grants": {"stt": true}, "expires_in": 0}', "expires_in"),
        (b'{"grants": {"stt": true}, "expires_in": 3601}', "expires_in"),
        (b'{"grants": {"stt": true}, "expires_in": true}', "expires_in"),
        (b'{"grants": {"stt": true}, "expires_in": "60"}', "expires_in"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, words: str) -> None:
    with pytest.raises(RequestRejectedError, match=words):
        Tokens().issue(body, now=0.0)


def test_a_token_expires() -> None:
    tokens = Tokens()
    token = tokens.issue(json.dumps(ASKED).encode(), now=100.0)
    assert tokens.is_valid(token, now=159.9)
    assert not tokens.is_valid(token, now=160.0)
    assert token in tokens  # it does not become a key that nobody knows
    assert not tokens.is_valid("another", now=100.0)
    assert token not in repr(tokens)
