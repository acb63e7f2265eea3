"""Key and audio go to another machine over TLS only, unless that is allowed."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins import (
    Credentials,
    ManualOptions,
    TranscriptionError,
    TurnsOptions,
    UsageError,
    transcribe,
)

PLAIN = ["ws://ink.example", "http://ink.example:8080", "http://10.0.0.7", "ws://[2001:db8::1]:80"]
LOOKS_LOCAL = ["ws://localhost.example", "http://127.0.0.1.example", "http://0.0.0.0:80"]
HERE = ["ws://localhost:1", "http://127.0.0.1:1", "http://127.9.9.9", "ws://[::1]:1"]
ENCRYPTED = ["https://ink.example", "wss://ink.example", "ink.example", "https://10.0.0.7"]


@pytest.fixture(autouse=True)
def _no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARTESIA_ALLOW_INSECURE", raising=False)


@pytest.mark.parametrize("options", [TurnsOptions, ManualOptions])
@pytest.mark.parametrize("base_url", PLAIN + LOOKS_LOCAL)
class TestAnotherMachine:
    def test_takes_no_plain_connection(
        self, options: type[TurnsOptions | ManualOptions], base_url: str
    ) -> None:
        with pytest.raises(UsageError, match=r"^base_url: .* allow_insecure=True .*_INSECURE=1$"):
            options(base_url=base_url)

    def test_takes_one_if_it_is_allowed(
        self,
        options: type[TurnsOptions | ManualOptions],
        base_url: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert options(base_url=base_url, allow_insecure=True).url().startswith("ws://")
        monkeypatch.setenv("CARTESIA_ALLOW_INSECURE", "1")
        assert options(base_url=base_url).url().startswith("ws://")
        with pytest.raises(UsageError):
            options(base_url=base_url, allow_insecure=False)

    def test_the_environment_must_say_1(
        self,
        options: type[TurnsOptions | ManualOptions],
        base_url: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for value in ("", "0", "no"):
            monkeypatch.setenv("CARTESIA_ALLOW_INSECURE", value)
            with pytest.raises(UsageError):
                options(base_url=base_url)


@pytest.mark.parametrize("base_url", HERE + ENCRYPTED)
def test_this_machine_and_an_encrypted_connection_need_no_permission(base_url: str) -> None:
    assert TurnsOptions(base_url=base_url).base_url == base_url


def test_a_base_url_of_the_environment_needs_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTESIA_BASE_URL", "http://ink.example")
    with pytest.raises(UsageError, match="allow_insecure"):
        TurnsOptions()


@pytest.mark.parametrize("base_url", PLAIN + LOOKS_LOCAL)
async def test_so_do_files(base_url: str) -> None:
    key = Credentials(api_key="sk_for_tests")
    with pytest.raises(UsageError, match="allow_insecure"):
        await transcribe(b"RIFF", credentials=key, base_url=base_url)


async def test_and_are_sent_if_it_is_allowed() -> None:
    with pytest.raises(TranscriptionError):
        await transcribe(
            b"RIFF",
            credentials=Credentials(api_key="sk_for_tests"),
            base_url="http://ink.invalid",
            allow_insecure=True,
            retries=0,
        )
