"""A user who is muted for a while: heard from where the framework wants it, and then answered."""

from __future__ import annotations

import time

import pytest
from pipecat.frames.frames import (
    Frame,
    STTMuteFrame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.turns.user_mute import BaseUserMuteStrategy

from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from tests.pipecat.conversation import Conversation, tone
from tests.pipecat.sides import MakeSTT, Outcome, builtin, ours, outcome, talk_to
from tests.pipecat.wire import CUE, RESUME, START, Pause, Play, WireServer, eager, end, update


class Switch(BaseUserMuteStrategy):
    """Mutes the user while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on = False

    async def process_frame(self, frame: Frame) -> bool:
        await super().process_frame(frame)
        return self.on


async def muted_at_first(play: Play, make: MakeSTT, while_muted: str) -> Outcome:
    """Play something to a pipeline that mutes the user until some words were said."""
    switch = Switch()
    switch.on = True
    params = LLMUserAggregatorParams(user_mute_strategies=[switch])
    async with talk_to(play, make, params=params) as (talk, server):
        updates: list[str] = []

        async def on_turn_update(_: object, transcript: str) -> None:
            updates.append(transcript)

        talk.stt.add_event_handler("on_turn_update", on_turn_update)
        await talk.hear()
        await talk.until(lambda: while_muted in updates)
        await unmute(talk, switch)
        server.go_on()
        await server.played.wait()
        await talk.quiet()
        return outcome(talk)


async def unmute(talk: Conversation, switch: Switch) -> None:
    """Turn a switch off; the framework asks it with every frame."""
    switch.on = False
    await talk.hear()
    await talk.until(lambda: bool(talk.tap.up(UserMuteStoppedFrame)))


async def test_a_turn_that_goes_on_after_the_mute_is_answered() -> None:
    play: Play = [
        *(START, update("Is anybody"), CUE),
        *(update("Is anybody there? I want"), end("Is anybody there? I want a table.")),
    ]
    talk = await muted_at_first(play, ours, "Is anybody")
    assert talk.user_messages == ["there? I want a table."]
    assert talk.spoken == ["re: there? I want a table.."]
    theirs = await muted_at_first(play, builtin, "Is anybody")
    assert theirs.spoken == [], "the framework's own now hears it too"


async def test_words_are_not_cut_in_two_by_the_end_of_a_mute() -> None:
    play: Play = [START, update("One fish two fi"), CUE, end("One fish two fish red.")]
    talk = await muted_at_first(play, ours, "One fish two fi")
    assert talk.user_messages == ["fish red."]


async def test_a_turn_that_is_over_with_the_mute_is_not_answered() -> None:
    play: Play = [START, update("Hm hm."), CUE, end("Hm hm."), START, end(" Hello.")]
    talk = await muted_at_first(play, ours, "Hm hm.")
    assert talk.user_messages == ["Hello."]


async def test_a_turn_is_answered_early_after_the_mute() -> None:
    play: Play = [START, update("Uh"), CUE, eager("Uh yes"), Pause(0.1), end("Uh yes")]
    talk = await muted_at_first(play, ours, "Uh")
    assert talk.runs == [" yes"]
    assert talk.user_messages == ["yes"]


async def test_nothing_is_begun_early_while_the_user_is_muted() -> None:
    play: Play = [START, eager("Uh"), RESUME, update("Uh uh"), CUE, end("Uh uh yes")]
    reports: list[object] = []

    def make(url: str) -> InkTurnsSTTService:
        stt = ours(url)
        stt.add_event_handler("on_speculation", lambda _, report: reports.append(report))
        return stt

    talk = await muted_at_first(play, make, "Uh uh")
    assert talk.user_messages == ["yes"]
    assert reports == []


async def test_a_turn_whose_end_was_muted_does_not_stay_open() -> None:
    switch = Switch()
    params = LLMUserAggregatorParams(user_mute_strategies=[switch])
    play: Play = [
        *(START, update("Hold on"), CUE, end("Hold on please."), CUE),
        *(START, update(" Now"), end(" Now go.")),
    ]
    async with talk_to(play, params=params) as (talk, server):
        await talk.hear()
        await talk.until(lambda: bool(talk.tap.up(UserStartedSpeakingFrame)))
        switch.on = True
        await talk.hear()
        await talk.until(lambda: bool(talk.tap.up(UserMuteStartedFrame)))
        ended: list[str] = []

        async def on_turn_end(_: object, transcript: str) -> None:
            ended.append(transcript)

        talk.stt.add_event_handler("on_turn_end", on_turn_end)
        server.go_on()
        await talk.until(lambda: bool(ended))
        await unmute(talk, switch)
        await talk.until(lambda: bool(talk.tap.up(UserStoppedSpeakingFrame)))
        server.go_on()
        await server.played.wait()
        await talk.quiet()
        assert talk.user_messages == ["Now go."]


async def said_under_mute(talk: Conversation, switch: Switch) -> None:
    """Mute the user, who then says something."""
    switch.on = True
    await talk.hear()
    await talk.until(lambda: bool(talk.tap.up(UserMuteStartedFrame)))
    await talk.say(bytes(16_000) + tone(16_000, 0.6))


@pytest.mark.parametrize("begun", ["before", "after"])
async def test_a_word_said_under_the_mute_and_transcribed_after_it_does_not_count(
    begun: str,
) -> None:
    """The turn may start before the mute ends, or, with the delay of the model, after it."""
    play: Play = [
        *(CUE, START, CUE, update("Hm"), end("Hm."), CUE),
        *(START, update(" Now"), end(" Now go.")),
    ]
    switch = Switch()
    params = LLMUserAggregatorParams(user_mute_strategies=[switch])
    async with talk_to(play, params=params) as (talk, server):
        started, ended = list[str](), list[str]()
        talk.stt.add_event_handler("on_turn_start", lambda *_: started.append(""))
        talk.stt.add_event_handler("on_turn_end", lambda _, transcript: ended.append(transcript))
        await said_under_mute(talk, switch)
        if begun == "before":
            server.go_on()
            await talk.until(lambda: len(started) == 1)
        await unmute(talk, switch)
        await talk.say(bytes(4_800))
        if begun == "after":
            server.go_on()
        server.go_on()
        await talk.until(lambda: ended == ["Hm."])
        await talk.say(bytes(16_000) + tone(16_000, 0.4))
        server.go_on()
        await talk.until(lambda: talk.voice.spoken == ["re: Now go.."])
        assert talk.user_messages == ["Now go."]


async def test_words_on_both_sides_of_the_end_of_a_mute() -> None:
    words = "Hold on please"
    play: Play = [CUE, START, CUE, update("Hold on"), CUE, update(words), end(f"{words}.")]
    switch = Switch()
    params = LLMUserAggregatorParams(user_mute_strategies=[switch])
    async with talk_to(play, params=params) as (talk, server):
        started, updates = list[str](), list[str]()
        talk.stt.add_event_handler("on_turn_start", lambda *_: started.append(""))
        talk.stt.add_event_handler(
            "on_turn_update", lambda _, transcript: updates.append(transcript)
        )
        await said_under_mute(talk, switch)
        server.go_on()
        await talk.until(lambda: len(started) == 1)
        await unmute(talk, switch)
        # 0.1 s after the mute has ended, the last word under it is transcribed.
        await talk.say(tone(16_000, 0.1))
        server.go_on()
        await talk.until(lambda: updates == ["Hold on"])
        await talk.say(tone(16_000, 0.6))
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        assert talk.user_messages == ["please."]


async def test_words_before_a_mute_count() -> None:
    switch = Switch()
    params = LLMUserAggregatorParams(user_mute_strategies=[switch])
    words = "A table for two"
    play: Play = [
        START,
        update(words),
        CUE,
        update(f"{words} hush"),
        CUE,
        end(f"{words} hush please"),
    ]
    async with talk_to(play, params=params) as (talk, server):
        updates: list[str] = []
        talk.stt.add_event_handler(
            "on_turn_update", lambda _, transcript: updates.append(transcript)
        )
        await talk.hear()
        await talk.until(lambda: talk.tap.interims == [words])
        switch.on = True
        await talk.hear()
        await talk.until(lambda: bool(talk.tap.up(UserMuteStartedFrame)))
        server.go_on()
        await talk.until(lambda: f"{words} hush" in updates)
        await unmute(talk, switch)
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        assert talk.user_messages == [f"{words} please"]


async def test_a_muted_service_sends_silence_in_real_time_and_no_more() -> None:
    async def hear_for(talk: Conversation, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            await talk.hear(0.02)
            await talk.pause(0.02)

    async def largest_piece(make: MakeSTT) -> float:
        async with talk_to([START, update("So")], make) as (talk, server):
            await hear_for(talk, 0.2)
            before, began = sent(server), time.monotonic()
            await talk.task.queue_frame(STTMuteFrame(mute=True))
            await hear_for(talk, 1.2)
            assert 0.1 < sent(server) - before < time.monotonic() - began + 0.2
            assert not any(server.audio[0][-3200:])
            return max(server.pieces) / 32_000

    assert await largest_piece(ours) <= 0.1
    assert await largest_piece(builtin) >= 0.5, "the framework's own now sends it as it passes"


def sent(server: WireServer) -> float:
    return sum(map(len, server.audio)) / 32_000


async def test_a_muted_service_still_lets_audio_pass() -> None:
    async with talk_to([]) as (talk, server):
        await talk.task.queue_frame(STTMuteFrame(mute=True))
        await talk.hear()
        await talk.quiet(0.05)
        assert talk.tap.audio == 1
        assert sent(server) == 0
