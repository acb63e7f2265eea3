"""From chances of speech and answers of a recogniser to turns: no model, no thread, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.core.events import TurnEnd, TurnEvent
from cartesia_ink_plugins.server.engine import TurnThresholds
from cartesia_ink_plugins.server.speech.likelihood import STEP_SECONDS
from cartesia_ink_plugins.server.speech.listener import Listener
from cartesia_ink_plugins.server.speech.recognise import Answer, Asked, Kind, Request

WHOLE, OPEN = 1.0, 0.1
Event = tuple[float, str, str]


class Stage:
    """A listener, a voice that says what it is told to, and words that were said at some time."""

    def __init__(self, *, thresholds: TurnThresholds | None = None, final: float = WHOLE) -> None:
        self.chance = 0.0
        self.final = final
        self.sure = False
        self.said = ""
        self.answering = True
        self.asked: list[Asked] = []
        self.events: list[Event] = []
        self.listener = Listener(self._voice, thresholds or TurnThresholds())

    def _voice(self, samples: Samples) -> float:
        return self.chance

    def speak(self, seconds: float, *words: str) -> None:
        """Speak for so long; the words are said one after the other."""
        self.chance = 1.0
        for number in range(steps := round(seconds / STEP_SECONDS)):
            done = len(words) * (number + 1) // steps
            self._step("".join(words[:done]))
        self.said += "".join(words)

    def pause(self, seconds: float) -> None:
        self.chance = 0.0
        for _ in range(round(seconds / STEP_SECONDS)):
            self._step("")

    def finish(self) -> None:
        self._take(self.listener.finish(), "")

    def answer_all(self, now_saying: str = "") -> None:
        while self.asked:
            asked = self.asked.pop(0)
            text = self.said + now_saying
            assert text.startswith(asked.request.prefix)
            judge = asked.kind is Kind.PAUSE
            following = text.removeprefix(asked.request.prefix)
            answer = Answer(
                following,
                sure=following if self.sure else "",
                final=self.final if judge else None,
            )
            self._take(self.listener.answer(asked, answer), now_saying)

    def _step(self, now_saying: str) -> None:
        if not self.listener.waiting:
            self._take(self.listener.hear(np.zeros(512, np.float32)), now_saying)

    def _take(self, events: Iterable[TurnEvent], now_saying: str) -> None:
        for event in events:
            text = getattr(event, "transcript", "")
            self.events.append((self.listener.now, event.type, text))
            if isinstance(event, TurnEnd):
                self.said = ""
        self.asked += self.listener.wanted
        self.listener.wanted.clear()
        if self.answering:
            self.answer_all(now_saying)

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.events if kind != "turn.update"]

    @property
    def texts(self) -> list[str]:
        return [text for _, kind, text in self.events if kind == "turn.end"]

    def at(self, kind: str) -> float:
        return next(at for at, other, _ in self.events if other == kind)


def test_silence_is_nothing() -> None:
    stage = Stage()
    stage.pause(10)
    stage.finish()
    assert stage.events == []


def test_a_sentence_is_start_updates_eager_end_and_end() -> None:
    stage = Stage()
    stage.pause(0.5)
    stage.speak(4, " I'd", " like", " a", " table", " for", " two.")
    stage.pause(1)
    assert stage.kinds == ["turn.start", "turn.eager_end", "turn.end"]
    assert stage.texts == ["I'd like a table for two."]
    updates = [text for _, kind, text in stage.events if kind == "turn.update"]
    assert updates
    for shorter, longer in zip(updates, [*updates[1:], *stage.texts], strict=True):
        assert longer.startswith(shorter)


def test_the_start_comes_within_200_ms_of_speech() -> None:
    stage = Stage()
    stage.pause(1)
    stage.speak(1, " Yes.")
    assert stage.at("turn.start") - 1 < 0.2


def test_the_first_word_comes_half_a_second_after_it_was_said_when_it_is_sure() -> None:
    stage = Stage()
    stage.sure = True
    stage.speak(0.2, " Wait,")
    stage.speak(2, " could", " we", " come")
    assert stage.at("turn.update") < 0.2 + 0.5


def test_a_word_before_a_pause_does_not_wait_for_the_end_of_it() -> None:
    stage = Stage(final=OPEN)
    stage.sure = True
    stage.speak(0.2, " Wait,")
    stage.speak(0.2)
    stage.pause(0.3)
    assert [(kind, text) for _, kind, text in stage.events] == [
        ("turn.start", ""),
        ("turn.update", "Wait,"),
    ]
    stage.pause(3)
    assert stage.texts == ["Wait,"]


def test_on_a_machine_that_decodes_as_rarely_as_may_be_a_turn_is_not_silent_for_long() -> None:
    """A client takes a stream for dead that says nothing for five seconds."""
    stage = Stage()
    stage.sure = True
    stage.listener.partial_every = 3.0
    stage.speak(12, *(f" w{n}" for n in range(24)))
    said = [at for at, _, _ in stage.events]
    assert max(later - at for at, later in zip(said, [*said[1:], 12.0], strict=True)) < 3.5


def test_a_whole_sentence_ends_soon_and_an_open_one_late() -> None:
    def pause_before_end(final: float) -> float:
        stage = Stage(final=final)
        stage.speak(1, " Book", " a", " table.")
        stage.pause(6)
        return stage.at("turn.end") - 1

    assert pause_before_end(WHOLE) < 0.55
    assert 1.3 < pause_before_end(OPEN) < 2.0


def test_a_pause_inside_a_sentence_is_eager_end_and_resume() -> None:
    stage = Stage(final=0.4)
    stage.speak(1, " Isolated", " tornadoes")
    stage.pause(0.7)
    stage.speak(1, " and", " rain.")
    stage.final = WHOLE
    stage.pause(1)
    assert stage.kinds == [
        "turn.start",
        "turn.eager_end",
        "turn.resume",
        "turn.eager_end",
        "turn.end",
    ]
    assert stage.texts == ["Isolated tornadoes and rain."]


def test_a_short_pause_is_nothing() -> None:
    stage = Stage(final=OPEN)
    stage.speak(1, " one", " two")
    stage.pause(0.4)
    stage.speak(1, " three", " four")
    assert stage.kinds == ["turn.start"]


def test_only_the_first_turn_does_not_begin_with_a_space() -> None:
    stage = Stage()
    for word in (" Hello.", " Yes.", " Bye."):
        stage.speak(1, word)
        stage.pause(2)
    assert stage.texts == ["Hello.", " Yes.", " Bye."]


def test_noise_is_an_empty_turn_without_eager_end_and_takes_no_space_away() -> None:
    stage = Stage()
    stage.speak(0.5)
    stage.pause(2)
    assert stage.kinds == ["turn.start", "turn.end"]
    stage.speak(1, " Hello.")
    stage.pause(2)
    assert stage.texts == ["", "Hello."]


def test_a_dictated_number_is_said_in_one_piece_when_it_is_over_and_nothing_is_revised() -> None:
    stage = Stage()
    stage.sure = True
    stage.speak(0.6, " It's")
    stage.speak(1.9, *(f" {digit}," for digit in "5552368"))
    assert {text for _, _, text in stage.events} == {"", "It's"}
    stage.speak(0.9, " please", " call")
    stage.pause(1.0)
    said = [text for _, kind, text in stage.events if kind != "turn.start"]
    assert said[-1] == "It's 555-2368, please call"
    assert all(later.startswith(text) for text, later in pairwise(said))


def test_a_number_that_goes_on_after_a_pause_is_still_one() -> None:
    stage = Stage(final=OPEN)
    stage.speak(1.0, " It's", " 415.")
    stage.pause(1.1)
    stage.speak(1.0, " 555", " 2368.")
    stage.pause(2.0)
    assert stage.kinds.count("turn.resume") == 1
    assert [text for _, kind, text in stage.events if kind in ("turn.eager_end", "turn.end")] == [
        "It's 415",
        "It's 415-555-2368",
        "It's 415-555-2368",
    ]


def test_a_number_that_takes_long_is_not_held_back_for_ever() -> None:
    """Clients take a stream for dead that says nothing for five seconds of speech."""
    stage = Stage()
    stage.sure = True
    stage.speak(9.0, *(f" {digit}" for digit in "4242424242424242"))
    stage.pause(1.0)
    moments = [at for at, _, _ in stage.events]
    assert all(later - at < 4.5 for at, later in pairwise(moments))
    assert stage.texts == ["4242424242424242"]


def test_a_click_is_no_turn() -> None:
    stage = Stage()
    stage.pause(1)
    stage.speak(0.032)
    stage.pause(1)
    assert stage.events == []


def test_the_timeout_ends_a_turn_that_sounds_open() -> None:
    stage = Stage(thresholds=TurnThresholds(timeout_ms=1000), final=OPEN)
    stage.speak(1, " A", " table", " for")
    stage.pause(3)
    assert stage.at("turn.end") - 1 == pytest.approx(1.0, abs=0.05)


def test_the_timeout_ends_a_turn_in_noise_that_sounds_like_speech_once() -> None:
    stage = Stage()
    stage.speak(1, " Hello.")
    stage.speak(20)
    assert stage.kinds == ["turn.start", "turn.end"]
    assert 6 < stage.at("turn.end") < 8
    stage.pause(1)
    stage.speak(1, " Yes.")
    stage.pause(1)
    assert stage.texts == ["Hello.", " Yes."]


def test_the_shortest_timeout_does_not_cut_a_word_that_lasts() -> None:
    stage = Stage(thresholds=TurnThresholds(timeout_ms=640))
    stage.speak(1, " Hello")
    stage.speak(2)
    assert stage.kinds == ["turn.start"]


@pytest.mark.parametrize("start", [0.5, 0.7, 0.9])
def test_any_start_threshold_starts_a_turn_that_lasts(start: float) -> None:
    stage = Stage(thresholds=TurnThresholds(start=start, eager_end=0.4))
    stage.speak(1, " Hello.")
    assert stage.kinds == ["turn.start"]


def test_thresholds_can_change_in_mid_turn() -> None:
    stage = Stage(final=0.5)
    stage.speak(1, " Hello")
    stage.pause(0.4)
    assert stage.kinds == ["turn.start"]
    stage.listener.thresholds = TurnThresholds(start=0.99, eager_end=0.98, end=0.9)
    stage.pause(0.1)
    assert stage.kinds == ["turn.start", "turn.end"]


def test_finishing_ends_an_open_turn_with_all_its_words() -> None:
    stage = Stage()
    stage.speak(1, " Hello", " there.")
    stage.finish()
    assert stage.kinds == ["turn.start", "turn.end"]
    assert stage.texts == ["Hello there."]
    assert stage.listener.idle


def test_it_waits_for_the_answer_of_a_pause_and_for_no_other() -> None:
    stage = Stage()
    stage.answering = False
    stage.speak(2, " Hello", " there.")
    assert [asked.kind for asked in stage.asked] == [Kind.PARTIAL]
    assert not stage.listener.waiting
    stage.pause(1)
    assert stage.asked[-1].kind is Kind.PAUSE
    assert stage.listener.waiting
    waited_at = stage.listener.now
    stage.answering = True
    stage.answer_all()
    assert not stage.listener.waiting
    stage.pause(1)
    assert stage.texts == ["Hello there."]
    assert waited_at < 2.4


def test_recognition_of_a_pause_begins_when_it_does_and_anew_after_a_last_sound() -> None:
    stage = Stage()
    stage.answering = False
    stage.speak(1, " Hello", " there.")
    stage.pause(0.064)
    first = stage.asked[-1]
    assert first.kind is Kind.PAUSE
    stage.speak(0.032)
    stage.pause(0.032)
    second = stage.asked[-1]
    assert (second.kind, second.end) == (Kind.PAUSE, first.end + 6)
    assert stage.listener.awaits(second)
    assert not stage.listener.awaits(first)


def test_an_answer_that_comes_when_speech_goes_on_is_only_a_guess() -> None:
    stage = Stage()
    stage.speak(1, " Hello", " there")
    stage.answering = False
    stage.pause(0.2)
    stage.speak(0.3)
    stage.answering = True
    stage.answer_all()
    stage.speak(1, " old", " friend.")
    stage.pause(1)
    assert stage.kinds == ["turn.start", "turn.eager_end", "turn.end"]
    assert stage.texts == ["Hello there old friend."]


def test_in_a_hurry_only_pauses_are_recognised() -> None:
    stage = Stage()
    stage.listener.hurried = True
    stage.speak(5, " Hello", " there.")
    assert [kind for _, kind, _ in stage.events] == ["turn.start"]
    stage.pause(1)
    assert stage.texts == ["Hello there."]


class Tape:
    """A recogniser for speech of one word a second, which must fit into Whisper's window."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.longest = 0

    def __call__(self, request: Request) -> Answer:
        self.longest = max(self.longest, request.frames)
        end = round(self.stage.listener.now * 100)
        # The last frames wait for what follows.
        first = -(-(end - request.frames - 5) // 100)
        heard = "".join(f" w{n}" for n in range(max(0, first), end // 100))
        if request.prefix:
            assert heard.startswith(request.prefix)
        cut = (0, 0)
        if request.keep is not None and request.prefix:
            words = request.prefix.count(" ") - 1
            frames = (int(request.prefix.split()[words][1:])) * 100 - (end - request.frames)
            cut = (request.prefix.rindex(" "), frames)
        return Answer(heard.removeprefix(request.prefix), final=1.0, cut=cut)


def test_a_turn_may_be_much_longer_than_the_window() -> None:
    stage = Stage()
    stage.answering = False
    tape = Tape(stage)
    stage.chance = 1.0
    for number in range(round(61 / STEP_SECONDS)):
        stage.chance = 1.0 if number < round(60 / STEP_SECONDS) else 0.0
        stage._step("")
        while stage.asked:
            asked = stage.asked.pop(0)
            stage._take(stage.listener.answer(asked, tape(asked.request)), "")
    assert stage.texts == [" ".join(f"w{n}" for n in range(60))]
    assert tape.longest <= 1450
