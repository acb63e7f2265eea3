"""Moving over is one import: what the framework's own classes have, ours have, or say that not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from pipecat.frames.frames import (
    EagerTranscriptionFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    UserStoppedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyFailover
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
from pipecat.turns.user_stop import EagerMatchPolicy, NormalizedMatch
from pipecat.turns.user_turn_strategies import (
    EagerUserTurnStrategies,
    ExternalUserTurnStrategies,
    UserTurnStrategies,
)

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins.pipecat import InkManualSTTService, InkTurnsSTTService
from cartesia_ink_plugins.pipecat.llm_observer import all_processors
from tests.parity import (
    Offers,
    assert_every_difference_is_named,
    bases,
    constructor,
    keywords,
    members,
    of_kind,
    settings,
)
from tests.pipecat.conversation import conversation, tone
from tests.pipecat.sides import MakeSTT, builtin, has_run, has_spoken, ours, played, talk_to
from tests.pipecat.test_lifecycle import refusing
from tests.pipecat.wire import CUE, START, Pause, Play, eager, end, update, wire_server

PAIRS = pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        pytest.param(InkTurnsSTTService, CartesiaTurnsSTTService, id="turns"),
        pytest.param(InkManualSTTService, CartesiaSTTService, id="manual"),
    ],
)


def offers(kind: type, package: str) -> Offers:
    """What a service offers to an application."""
    service = kind(api_key="test-key")
    return {
        **constructor(kind, package, "pipecat"),
        **members(kind, service, STTService),
        **settings(service._settings),
        **of_kind("event handler", service._event_handlers),
        **bases(kind, "pipecat"),
    }


def is_ignored(mine: type, keyword: str, warnings: list[str]) -> bool:
    """Whether a keyword is accepted without effect, and the log says so."""
    warnings.clear()
    with suppress(Exception):  # it is no sensible value
        mine(**{"api_key": "test-key", keyword: object()})
    return any(f"`{keyword}` has no meaning" in line for line in warnings)


@PAIRS
def test_every_difference_is_in_the_table(mine: type, theirs: type, warnings: list[str]) -> None:
    names = [parameter.name for parameter in keywords(theirs, "pipecat")]
    assert_every_difference_is_named(
        f"Pipecat: {theirs.__name__}",
        offers(theirs, "pipecat"),
        offers(mine, "cartesia_ink_plugins"),
        [name for name in names if is_ignored(mine, name, warnings)],
    )


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


@SIDES
async def test_audio_does_not_pass_if_it_should_not(make: MakeSTT) -> None:
    def kept(url: str) -> STTService:
        return make(url, audio_passthrough=False)  # type: ignore[call-arg]

    talk = await played(ONE, kept)
    assert talk.tap.audio == 0
    assert talk.user_messages == ["one"]


@SIDES
async def test_a_muted_service_sends_no_audio_of_the_user(make: MakeSTT) -> None:
    async with talk_to(ONE, make) as (talk, server):
        stt = talk.stt
        assert isinstance(stt, STTService)
        await talk.task.queue_frame(STTMuteFrame(mute=True))
        await talk.until(lambda: stt.is_muted)
        await talk.say(tone(16_000, 0.2))
        await talk.quiet()
        assert not any(any(audio) for audio in server.audio)
        await talk.task.queue_frame(STTMuteFrame(mute=False))
        await talk.until(lambda: not stt.is_muted)
        await talk.say(tone(16_000, 0.2))
        await talk.until(lambda: has_spoken(talk))
        assert talk.user_messages == ["one"]


class Verbatim(EagerMatchPolicy):
    """A reply answers the very words that it was begun for, and no others."""

    def matches(self, eager_text: str, committed_text: str) -> bool:
        """Whether two texts are the same."""
        return eager_text == committed_text


@SIDES
@pytest.mark.parametrize(
    ("policy", "runs"), [(NormalizedMatch(), ["one"]), (Verbatim(), ["one", "One."])]
)
async def test_the_applications_policy_decides_which_reply_is_kept(
    make: MakeSTT, policy: EagerMatchPolicy, runs: list[str]
) -> None:
    def strict(url: str) -> STTService:
        return make(url, eager_match_policy=policy)  # type: ignore[call-arg]

    talk = await played([START, eager("one"), CUE, end("One.")], strict, cues=[has_run("one")])
    assert talk.runs == runs
    assert talk.spoken == [f"re: {runs[-1]}."]


async def test_without_an_early_end_of_turn_there_is_no_early_reply() -> None:
    play: Play = [START, eager("one"), Pause(0.1), end("one two")]
    off = [
        await played(play, lambda url: ours(url, enable_eager_end_of_turn=False)),
        await played(
            play,
            lambda url: CartesiaTurnsSTTService(
                api_key="test-key", url=f"{url}/stt/turns/websocket"
            ),
        ),
    ]
    for talk in off:
        assert talk.runs == ["one two"]
        assert talk.tap.down(EagerTranscriptionFrame) == []


@SIDES
async def test_a_switcher_takes_the_next_service_after_a_rejection(make: MakeSTT) -> None:
    async with refusing(401) as rejecting, wire_server(ONE) as server:
        first, second = make(rejecting), make(server.url)
        switcher = ServiceSwitcher([first, second], ServiceSwitcherStrategyFailover)
        async with conversation(switcher) as talk:
            await talk.until(lambda: switcher.strategy.active_service is second)
            await talk.hear()
            await talk.until(lambda: has_spoken(talk))
            assert talk.user_messages == ["one"]
