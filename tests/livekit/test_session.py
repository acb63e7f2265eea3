"""The plugin in a real AgentSession: when the LLM is asked, and when the reply is heard."""

from __future__ import annotations

import asyncio

from livekit.agents import TurnHandlingOptions

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnStart
from cartesia_ink_plugins.testing import Close, Cue, InkServer, Script, ScriptTiming, Turn
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Speaker, Tts, call, until

ROOM = AudioFormat(sample_rate=ROOM_RATE)
# The session waits until `min_delay` after the end of speech, which turn detection has outlasted:
# a reply that waits for it counted from now is told from one that does not, on any machine.
SLOW = ScriptTiming(end_delay=2.0)
MIN_DELAY = 1.9


class TestReply:
    async def test_it_comes_when_the_turn_ends_and_not_min_delay_later(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script(
            Turn("Hello there.", after=4.0), Turn("And good bye.", after=2.2), timing=SLOW
        )
        async with InkServer(script) as server:
            options: TurnHandlingOptions = {
                "endpointing": {"min_delay": MIN_DELAY, "max_delay": MIN_DELAY}
            }
            async with call(make_ink(server.url), turn_handling=options) as running:
                await running.microphone.speak(script.audio(ROOM))
                await running.answered(2)
        assert running.user_texts == [text.lstrip() for text in script.transcripts]
        assert max(running.reply_delays) < MIN_DELAY / 2

    async def test_min_delay_can_be_kept_as_a_period_of_grace(self, make_ink: MakeSTT) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server:
            options: TurnHandlingOptions = {"endpointing": {"min_delay": 1.0}}
            recogniser = make_ink(server.url, keep_min_delay=True)
            async with call(recogniser, turn_handling=options) as running:
                await running.microphone.speak(script.audio(ROOM))
                await running.answered(1)
        assert running.reply_delays[0] > 0.9

    async def test_it_is_generated_before_the_turn_ends_and_only_once(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello there.")
        async with InkServer(script) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
        [inference] = running.answers.inferences
        assert inference.at < running.user_stopped[0]
        assert inference.text == "Hello there."

    async def test_one_that_was_begun_too_early_is_withdrawn_and_never_heard(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("A table ... for two.")
        async with InkServer(script) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
        assert running.answers.texts == ["A table", "A table for two."]
        assert running.voice.texts == ["You said: A table for two.."]
        assert running.user_texts == ["A table for two."]

    async def test_it_is_kept_however_late_the_turn_ends(self, make_ink: MakeSTT) -> None:
        cues = [
            Cue(0.2, TurnStart()),
            Cue(0.4, TurnEagerEnd("Yes.")),
            Cue(3.4, TurnEnd("Yes.")),
        ]
        async with InkServer(Script(cues=cues)) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(ROOM.silence(3.6))
            await running.answered(1)
        assert running.answers.texts == ["Yes."]
        assert running.user_texts == ["Yes."]

    async def test_words_that_come_with_the_end_are_answered_too(self, make_ink: MakeSTT) -> None:
        cues = [
            Cue(0.2, TurnStart()),
            Cue(0.4, TurnEagerEnd("A table")),
            Cue(0.8, TurnEnd("A table for two.")),
        ]
        async with InkServer(Script(cues=cues)) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(ROOM.silence(1.0))
            await running.answered(1)
        assert running.answers.texts == ["A table", "A table for two."]
        assert running.voice.texts == ["You said: A table for two.."]

    async def test_noise_is_not_answered_and_the_turn_after_it_is(self, make_ink: MakeSTT) -> None:
        script = Script(Turn(noise=0.5), "Hello.")
        async with InkServer(script) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(script.audio(ROOM))
            await running.answered(1)
            assert running.user_state == "listening"
        assert running.user_texts == ["Hello."]
        assert len(running.bot_messages) == 1


class TestInterruption:
    async def test_the_first_word_stops_the_agent(self, make_ink: MakeSTT) -> None:
        script = Script("Tell me everything.", "Stop.")
        async with (
            InkServer(script) as server,
            call(
                make_ink(server.url), speaker=Speaker(real_time=True), voice=Tts(seconds=8.0)
            ) as running,
        ):
            await running.microphone.speak(script.audio(ROOM))
            await until(lambda: running.speaker.interrupted)
        assert running.speaker.interrupted[0] is True


class TestOutage:
    async def test_a_drop_in_mid_turn_is_not_heard_in_the_conversation(
        self, make_ink: MakeSTT
    ) -> None:
        words = "I would like to book a table for two at seven."
        script = Script(words, cues=[Cue(1.5, Close(1006), connection=0)])
        async with InkServer(script) as server, call(make_ink(server.url)) as running:
            await running.microphone.speak(script.audio(ROOM) + ROOM.silence(1.0))
            await running.answered(1)
            assert len(server.connections) == 2
        assert running.user_texts == [words]
        assert [error.error.recoverable for error in running.errors] == [True]

    async def test_an_idle_close_is_no_error_and_the_next_turn_is_heard(
        self, make_ink: MakeSTT
    ) -> None:
        script = Script("Hello.", Turn("Still there?", gap=1.5))
        pcm = script.audio(ROOM)
        pause = ROOM.size(script.spans[0][1] + 1.4)
        async with (
            InkServer(script, idle_timeout=1.0) as server,
            call(make_ink(server.url)) as running,
        ):
            await running.microphone.speak(pcm[:pause])
            await until(lambda: server.connections[0].close_code == 1001)
            await asyncio.sleep(0.1)
            await running.microphone.speak(pcm[pause:])
            await running.answered(2)
        assert running.user_texts == ["Hello.", "Still there?"]
        assert running.errors == []
