"""Moving over is one import: what the framework's own classes have, ours have, or say that not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from pipecat.frames.frames import (
    STTUpdateSettingsFrame,
    UserStoppedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_response_universal import (
    LLMUserAggregator,
    LLMUserAggregatorParams,
)
from pipecat.services.cartesia.stt import CartesiaSTTService
from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
from pipecat.services.stt_service import STTService
from pipecat.turns.user_mute import (
    AlwaysUserMuteStrategy,
    BaseUserMuteStrategy,
    FirstSpeechUserMuteStrategy,
    FunctionCallUserMuteStrategy,
    MuteUntilFirstBotCompleteUserMuteStrategy,
)
from pipecat.turns.user_start import MinWordsUserTurnStartStrategy
from pipecat.turns.user_turn_strategies import (
    EagerUserTurnStrategies,
    ExternalUserTurnStrategies,
    UserTurnStrategies,
)

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins.pipecat import InkManualSTTService, InkTurnsSTTService
from cartesia_ink_plugins.pipecat.llm_observer import all_processors
from tests.pipecat.sides import MakeSTT, builtin, has_run, has_spoken, ours, played, talk_to
from tests.pipecat.wire import CUE, START, Pause, Play, eager, end, update

PAIRS = pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        pytest.param(InkTurnsSTTService, CartesiaTurnsSTTService, id="turns"),
        pytest.param(InkManualSTTService, CartesiaSTTService, id="manual"),
    ],
)
# A value for each keyword that the base classes do not share.
VALUES: dict[str, Any] = {
    "api_key": "test-key",
    "base_url": "ws://127.0.0.1:9",
    "eager_match_policy": None,
    "enable_eager_end_of_turn": True,
    "encoding": "pcm_s16le",
    "extra_headers": {"X-Thing": "1"},
    "reconnect_backoff_max_wait": 10.0,
    "reconnect_backoff_min_wait": 4.0,
    "reconnect_on_error": True,
    "should_interrupt": False,
    "url": "wss://api.cartesia.ai/stt/turns/websocket",
    "watchdog_min_timeout": 0.5,
    "ws_close_timeout": 1.0,
    "ws_send_timeout": 1.0,
}
# Deprecated, and refused with a word about what to give instead.
REFUSED = {"live_options"}
# It sends on a socket; here nobody but the session does.
LEFT_OUT = {"send_with_retry"}


def keywords(kind: type) -> set[str]:
    """What the constructors of a class and its bases can be given."""
    return {
        name
        for base in kind.__mro__
        if "__init__" in vars(base) and base.__module__.startswith(("pipecat", "cartesia"))
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def public(kind: type) -> Iterator[str]:
    return (name for name in dir(kind) if not name.startswith("_"))


@PAIRS
def test_every_keyword_is_taken_or_said_to_have_no_meaning(
    mine: type, theirs: type, warnings: list[str]
) -> None:
    for name in keywords(theirs) - keywords(STTService) - REFUSED:
        mine(**{"api_key": "test-key", name: VALUES[name]})
        said = any(f"`{name}` has no meaning" in line for line in warnings)
        assert said != (name in keywords(mine)), name


@PAIRS
def test_every_method_property_and_handler_is_there(mine: type, theirs: type) -> None:
    assert set(public(theirs)) - set(public(mine)) == LEFT_OUT
    handlers = theirs(api_key="test-key")._event_handlers.keys()
    assert handlers <= mine(api_key="test-key")._event_handlers.keys()


@PAIRS
def test_every_method_takes_the_same_arguments(mine: type, theirs: type) -> None:
    for name in set(public(theirs)) - LEFT_OUT:
        if inspect.isfunction(method := getattr(theirs, name)):
            expected = inspect.signature(method).parameters.keys()
            assert expected <= inspect.signature(getattr(mine, name)).parameters.keys(), name


@PAIRS
def test_their_settings_are_taken_for_ours(mine: Any, theirs: Any) -> None:
    assert {f.name for f in fields(theirs.Settings)} <= {f.name for f in fields(mine.Settings)}
    stt = mine(api_key="test-key", settings=theirs.Settings(keyterm=["Cartesia"]))
    assert stt._settings.keyterm == ["Cartesia"]


async def test_their_settings_change_ours_in_mid_call() -> None:
    async with talk_to([]) as (talk, server):
        await talk.hear()
        delta = CartesiaTurnsSTTService.Settings(turn_end_threshold=0.1)
        await talk.task.queue_frame(STTUpdateSettingsFrame(delta=delta))
        await talk.until(lambda: any("0.1" in text for text in server.texts))


def test_options_that_the_framework_will_remove_are_refused() -> None:
    with pytest.raises(UsageError, match=r"live_options.*settings"):
        InkManualSTTService(api_key="test-key", live_options=object())


async def test_a_reply_begun_early_is_pending_until_the_end() -> None:
    play: Play = [START, eager("a"), CUE, end("a")]
    async with talk_to(play) as (talk, server):
        stt = talk.stt
        assert isinstance(stt, InkTurnsSTTService)
        assert stt.eager_end_of_turn_enabled
        await talk.hear()
        await talk.until(lambda: has_run("a")(talk))
        assert stt.eager_end_of_turn_pending
        server.go_on()
        await talk.until(lambda: not stt.eager_end_of_turn_pending)


@pytest.mark.parametrize("should_interrupt", [True, False])
@pytest.mark.parametrize("asked", [True, False, None])
def test_the_strategies_interrupt_as_asked(should_interrupt: bool, asked: bool | None) -> None:
    stt = ours("ws://127.0.0.1:9", should_interrupt=should_interrupt)
    strategies = stt.recommended_user_turn_strategies(enable_interruptions=asked)
    assert isinstance(strategies, ExternalUserTurnStrategies)
    expected = should_interrupt if asked is None else asked
    assert strategies.enable_interruptions is expected


# -- behaviour: what the application decides comes out as with the framework's own class ----------

SIDES = pytest.mark.parametrize("make", [ours, builtin], ids=["ours", "built-in"])
ONE: Play = [START, update("one"), Pause(0.05), end("one")]
TWO: Play = [START, update("two"), Pause(0.05), end("two")]


@SIDES
async def test_the_bot_is_interrupted_or_not_as_told(make: MakeSTT) -> None:
    for should_interrupt in (True, False):

        def told(url: str, should_interrupt: bool = should_interrupt) -> STTService:
            return make(url, should_interrupt=should_interrupt)  # type: ignore[call-arg]

        talk = await played([*ONE, CUE, *TWO], told, speaking_time=30.0, cues=[has_spoken])
        kinds = [kind for kind, _ in talk.log]
        assert kinds.count("interrupted") == (2 if should_interrupt else 0)
        assert talk.user_messages == ["one", "two"]


@SIDES
@pytest.mark.parametrize(
    ("strategies", "interruptions"),
    [
        (lambda: ExternalUserTurnStrategies(enable_interruptions=True), 2),
        (lambda: ExternalUserTurnStrategies(enable_interruptions=False), 0),
        (lambda: EagerUserTurnStrategies(enable_interruptions=True), 2),
        (lambda: EagerUserTurnStrategies(enable_interruptions=False), 0),
        (lambda: _min_words(1), 2),
        (lambda: _min_words(3), 1),
    ],
    ids=["external", "external, polite", "eager", "eager, polite", "one word", "three words"],
)
async def test_strategies_of_the_application_decide(
    make: MakeSTT, strategies: Callable[[], UserTurnStrategies], interruptions: int
) -> None:
    params = LLMUserAggregatorParams(user_turn_strategies=strategies())
    play: Play = [*ONE, CUE, *TWO]
    talk = await played(play, make, params=params, speaking_time=30.0, cues=[has_spoken])
    assert [kind for kind, _ in talk.log].count("interrupted") == interruptions
    assert talk.user_messages[:1] == ["one"]


def _min_words(count: int) -> UserTurnStrategies:
    return UserTurnStrategies(
        start=[MinWordsUserTurnStartStrategy(min_words=count)],
        stop=ExternalUserTurnStrategies().stop,
    )


@SIDES
@pytest.mark.parametrize(
    ("mute", "messages"),
    [
        (AlwaysUserMuteStrategy, ["one"]),
        (MuteUntilFirstBotCompleteUserMuteStrategy, []),
        (FirstSpeechUserMuteStrategy, ["one"]),
        (FunctionCallUserMuteStrategy, ["one", "two"]),
    ],
)
async def test_who_is_muted_is_not_answered(
    make: MakeSTT, mute: type[BaseUserMuteStrategy], messages: list[str]
) -> None:
    """The bot is speaking when the second turn comes."""
    params = LLMUserAggregatorParams(user_mute_strategies=[mute()])
    play: Play = [*ONE, Pause(0.3), *TWO]
    talk = await played(play, make, params=params, speaking_time=30.0)
    assert talk.user_messages == messages
    assert talk.runs == messages


@SIDES
@pytest.mark.parametrize("vad", [True, False])
async def test_the_applications_time_limit_ends_a_turn(make: MakeSTT, vad: bool) -> None:
    """Where a VAD tells that the user is silent, and not while the user speaks."""
    params = LLMUserAggregatorParams(user_turn_stop_timeout=0.2)
    async with talk_to([START, update("So")], make, params=params) as (talk, _):
        await talk.hear()
        await talk.until(lambda: talk.tap.interims == ["So"])
        if vad:
            await talk.task.queue_frame(VADUserStoppedSpeakingFrame())
            await talk.until(lambda: bool(talk.tap.up(UserStoppedSpeakingFrame)))
        else:
            await talk.pause(0.5)
            assert not talk.tap.up(UserStoppedSpeakingFrame)


@SIDES
async def test_the_user_is_idle_after_the_applications_time(make: MakeSTT) -> None:
    params = LLMUserAggregatorParams(user_idle_timeout=0.3)
    async with talk_to(ONE, make, params=params) as (talk, _):
        aggregator = next(
            p for p in all_processors(talk.task.pipeline) if isinstance(p, LLMUserAggregator)
        )
        idle = asyncio.Event()
        aggregator.add_event_handler("on_user_turn_idle", lambda *_: idle.set())
        await talk.hear()
        async with asyncio.timeout(30):
            await idle.wait()
        assert talk.user_messages == ["one"]


@SIDES
async def test_the_aggregators_handlers_are_called_alike(make: MakeSTT) -> None:
    async with talk_to([*ONE, CUE, *TWO], make) as (talk, server):
        aggregator = next(
            p for p in all_processors(talk.task.pipeline) if isinstance(p, LLMUserAggregator)
        )
        calls: list[str] = []
        for event in (
            "on_user_turn_started",
            "on_user_turn_inference_triggered",
            "on_user_turn_stopped",
            "on_user_turn_message_added",
        ):

            async def called(*_: object, event: str = event) -> None:
                calls.append(event)

            aggregator.add_event_handler(event, called)
        await talk.hear()
        await talk.until(lambda: has_spoken(talk))
        server.go_on()
        await talk.until(lambda: len(talk.voice.spoken) == 2)
        await talk.quiet()
        assert sorted(calls) == sorted(
            [
                "on_user_turn_started",
                "on_user_turn_inference_triggered",
                "on_user_turn_message_added",
                "on_user_turn_stopped",
            ]
            * 2
        )
