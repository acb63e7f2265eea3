"""Settings that change in mid-call: no reconnect for thresholds, nothing lost for key terms."""

from __future__ import annotations

import json

from pipecat.frames.frames import STTUpdateSettingsFrame
from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
from pipecat.services.settings import STTSettings

from cartesia_ink_plugins.core.options import TurnSettings
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import InkServer, Script
from tests.pipecat.conversation import Conversation, conversation
from tests.pipecat.sides import builtin, ours, talk_to
from tests.pipecat.wire import CUE, START, Play, WireServer, end, update

Settings = InkTurnsSTTService.Settings
TURN: Play = [START, update("Book"), CUE, end("Book it.")]


async def change(talk: Conversation, delta: STTSettings) -> None:
    await talk.task.queue_frame(STTUpdateSettingsFrame(delta=delta))


def configs(server: WireServer) -> list[dict[str, object]]:
    messages = [json.loads(text) for text in server.texts]
    return [message["turn"] for message in messages if message["type"] == "config"]


def configured(url: str) -> InkTurnsSTTService:
    settings = Settings(
        turn_start_threshold=0.7, turn_end_timeout_ms=4500, keyterm=["Ink", "two words"]
    )
    return ours(url, settings=settings)


async def test_only_what_the_user_set_is_sent() -> None:
    async with talk_to([], configured) as (talk, server):
        await talk.until(lambda: bool(server.queries))
        query = server.queries[0]
        assert query["turn_start_threshold"] == ["0.7"]
        assert query["turn_end_timeout_ms"] == ["4500"]
        assert query["keyterm"] == ["Ink", "two words"]
        assert "turn_end_threshold" not in query
        assert "turn_eager_end_threshold" not in query


async def test_thresholds_change_in_mid_turn_without_a_new_connection() -> None:
    async with talk_to(TURN) as (talk, server):
        await talk.hear()
        await talk.until(lambda: talk.tap.interims == ["Book"])
        await change(talk, Settings(turn_end_threshold=0.1, turn_end_timeout_ms=8000))
        await talk.until(lambda: bool(configs(server)))
        assert configs(server) == [{"end_threshold": 0.1, "end_timeout_ms": 8000}]
        server.go_on()
        await talk.until(lambda: talk.user_messages == ["Book it."])
        assert len(server.queries) == 1
    # The framework's own reconnects at once, with half a sentence as the turn.
    async with talk_to(TURN, builtin) as (talk, server):
        await talk.hear()
        await talk.until(lambda: talk.tap.interims == ["Book"])
        await change(talk, CartesiaTurnsSTTService.Settings(turn_end_threshold=0.1))
        await talk.until(lambda: len(server.queries) == 2)
        await talk.quiet()
        assert talk.user_messages != ["Book it."]


async def test_key_terms_wait_for_the_end_of_the_turn() -> None:
    async with talk_to(TURN) as (talk, server):
        told: list[str] = []
        for event in ("on_connected", "on_disconnected", "on_connection_error"):
            talk.stt.add_event_handler(event, lambda *_, event=event: told.append(event))
        await talk.hear()
        await talk.until(lambda: talk.tap.interims == ["Book"])
        await change(talk, Settings(keyterm=["Cartesia"]))
        await talk.quiet(0.05)
        assert len(server.queries) == 1
        server.go_on()
        await talk.until(lambda: len(server.queries) == 2)
        assert server.queries[1]["keyterm"] == ["Cartesia"]
        await talk.quiet()
        assert told.count("on_connected") <= 1
        assert told.count("on_disconnected") == told.count("on_connection_error") == 0
        assert talk.user_messages == ["Book it."]


async def test_a_wrong_change_changes_nothing_and_is_told() -> None:
    async with talk_to([], configured) as (talk, server):
        await talk.hear()
        errors: list[str] = []

        async def on_error(_: object, frame: object) -> None:
            errors.append(str(frame))

        talk.stt.add_event_handler("on_error", on_error)
        await change(talk, Settings(turn_end_threshold=0.8))
        await talk.until(lambda: bool(errors))
        assert "turn_start_threshold" in errors[0]
        assert configs(server) == []
        assert talk.stt.is_usable


async def test_what_the_server_refuses_is_told_and_taken_back() -> None:
    script = Script("Book it.")
    async with InkServer(script) as server, conversation(ours(server.url)) as talk:
        errors: list[str] = []
        talk.stt.add_event_handler("on_error", lambda _, frame: errors.append(str(frame)))
        await talk.until(lambda: bool(server.connections and server.connections[0].sent))
        await change(talk, Settings(turn_end_timeout_ms=100, turn_end_threshold=0.2))
        await talk.until(lambda: bool(errors))
        assert "rejects the new settings" in errors[0]
        assert isinstance(talk.stt, InkTurnsSTTService)
        assert talk.stt._settings.turn_settings() == TurnSettings()
        await talk.say(script.audio())
        await talk.until(lambda: talk.user_messages == ["Book it."])
        assert talk.stt.is_usable


async def test_what_cannot_change_is_left_alone() -> None:
    async with talk_to(TURN) as (talk, server):
        await talk.hear()
        await change(talk, STTSettings(model="ink-3"))
        server.go_on()
        await talk.until(lambda: talk.user_messages == ["Book it."])
        assert len(server.queries) == 1
