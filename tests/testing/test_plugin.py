"""The pytest plugin, run by pytest in a pytest."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cartesia_ink_plugins import (
    Credentials,
    InkTurnsClient,
    TurnEnd,
    TurnsOptions,
    UsageError,
)
from cartesia_ink_plugins.testing import Cue, FaultProxy, InkServer, LocalInk, Rules, Script
from tests.needs import ROOT

pytest_plugins = ["pytester"]

PLUGIN = "cartesia_ink_plugins.testing.plugin"

BOT = """
    import json, pytest
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
    from cartesia_ink_plugins.testing import Rules

    def bot(server, pcm, closing='{"type":"close"}'):
        url = server.websocket_url + "?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
        with connect(url, additional_headers={"X-API-Key": "k"}) as websocket:
            websocket.send(pcm)
            websocket.send(closing)
            messages = []
            try:
                while True:
                    messages.append(json.loads(websocket.recv()))
            except ConnectionClosed:
                pass
        return [m["transcript"] for m in messages if m["type"] == "turn.end"]
"""


@pytest.fixture(autouse=True)
def _only_our_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    pytester.makepyfile(BOT + test)
    return pytester.runpytest_inprocess("-p", PLUGIN, "-p", "no:cacheprovider")


def test_a_bot_that_hears_everything_passes(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_bot(ink_server):
        script = ink_server.play("Hello there.", "Bye.")
        assert bot(ink_server, script.audio()) == script.transcripts
        """,
    )
    result.assert_outcomes(passed=1)


def test_a_bot_that_loses_words_fails_after_the_test_with_the_difference(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
    def test_bot(ink_server):
        script = ink_server.play("Hello there.", "Good bye.")
        bot(ink_server, script.audio()[:60000])
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*did not hear the script*", "*-Good bye.*"])


def test_a_bot_that_breaks_a_rule_fails_after_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_bot(ink_server):
        bot(ink_server, b"", "KeepAlive")
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*connection 0: The message is not valid JSON.*"])


def test_a_bot_that_never_calls_fails_after_the_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n    def test_bot(ink_server):\n        ink_server.play('Hello.')\n")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*nobody connected*"])


def test_a_test_that_failed_is_not_told_twice(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_bot(ink_server):
        ink_server.play('Hello.')
        assert False
        """,
    )
    result.assert_outcomes(failed=1)


def test_strictness_can_be_turned_off_and_options_be_given(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    @pytest.mark.ink_server(strict=False, api_keys=["k"], rules=Rules(reject_text=False))
    def test_bot(ink_server):
        ink_server.play("Hello.")
        assert ink_server.strict is False
        """,
    )
    result.assert_outcomes(passed=1)


async def test_faults_are_written_in_one_line() -> None:
    script = Script("A table for two.")
    async with (
        InkServer(script, faults=["reset@turn.update:2"]) as server,
        FaultProxy(server.url, ["latency=0.01@connect*always"]) as proxy,
    ):
        options = TurnsOptions(base_url=proxy.url)
        async with InkTurnsClient(options, Credentials(api_key="any")) as client:
            client.send_audio(script.audio())
            await client.finish()
            heard = [event.transcript async for event in client if isinstance(event, TurnEnd)]
        assert heard == script.transcripts
        assert len(server.connections) == len(proxy.injected) == 2
    with pytest.raises(UsageError, match="'explode' is not one of"):
        InkServer(script, faults=["explode@noon"])


def messages(server: LocalInk, pcm: bytes) -> list[dict[str, Any]]:
    url = f"{server.websocket_url}?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
    with connect(url, additional_headers={"X-API-Key": "k"}) as websocket:
        websocket.send(pcm)
        websocket.send('{"type":"close"}')
        return [json.loads(message) for message in websocket]


def test_a_local_server_needs_no_event_loop() -> None:
    script = Script("Hello.")
    with LocalInk(script) as server:
        assert messages(server, script.audio())[-1]["transcript"] == "Hello."
        assert server.transcripts == ["Hello."]


def test_all_connections_can_be_closed_from_the_test() -> None:
    with LocalInk(strict=False) as server:
        url = f"{server.websocket_url}?model=ink-2&encoding=pcm_s16le&sample_rate=16000"
        with connect(url, additional_headers={"X-API-Key": "k"}) as websocket:
            websocket.recv()
            server.close_all(1012)
            with pytest.raises(ConnectionClosed):
                websocket.recv()
            assert websocket.protocol.close_code == 1012


def test_rules_and_cues_reach_the_server() -> None:
    script = Script(cues=[Cue(0, '{"type":"new"}')])
    with LocalInk(script, rules=Rules(extra_fields=True)) as server:
        kinds = [message["type"] for message in messages(server, b"")]
    assert kinds == ["connected", "turn.sentiment", "new"]


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with LocalInk() as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError), LocalInk(port=port):
            pass


def test_it_is_found_once_it_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"cartesia_ink": PLUGIN}
