"""One stream becomes turns: sans-IO, driven by 32 ms of audio and by answers to its requests.

    audio ──▶ VAD ──▶ likelihood ──▶ decision ──▶ turn events
      └──▶ log-mel ──▶ Request ~~▶ (a worker thread) ~~▶ Answer ──▶ words

While somebody speaks, the turn is decoded again and again, and what several decodes agree on is
said. In a pause one more decode, of everything, is begun at once; together with smart-turn's
opinion it says how much the pause sounds like the end. The listener waits for that answer
(`waiting`) at a fixed moment of the pause. So what is said depends on the audio and not on how fast
the machine is, except for how often a turn is decoded while it lasts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cartesia_ink_plugins.core.audio import Samples
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.turn_table import TurnMachine, TurnState
from cartesia_ink_plugins.server.engine import TurnThresholds
from cartesia_ink_plugins.server.speech.features import FRAMES_PER_SECOND, LogMel
from cartesia_ink_plugins.server.speech.likelihood import (
    STEP_SECONDS,
    Decision,
    Likelihood,
    decide,
)
from cartesia_ink_plugins.server.speech.onnx import SMART_TURN_FRAMES
from cartesia_ink_plugins.server.speech.recognise import Answer, Asked, Kind, Request
from cartesia_ink_plugins.server.speech.whisper import AUDIO_FRAMES, LEAD_FRAMES, WINDOW_FRAMES
from cartesia_ink_plugins.server.speech.words import Words
from cartesia_ink_plugins.server.speech.written_form import WrittenForm

logger = logging.getLogger(__name__)

# A turn's audio begins so long before its speech was noticed to begin.
_LEAD = 0.4
# A pause is judged when it is this long, and the answer is due when it is that long. It takes
# longer on most machines, so that it begins early: of 43 such gaps in recordings 39 were pauses of
# 0.13 s.
_PAUSE, _DUE = 0.064, 0.288
# A turn is decoded so often, until it has a word twice as often; so much speech must be in it.
PARTIAL_EVERY, _PARTIAL_VOICED = 0.5, 0.3
# A window is cut in a pause when it is longer than the first, between two words when it is longer
# than the second, and anywhere at the last; its end is always kept.
_CUT_IN_PAUSE, _CUT, _CUT_ANYWHERE = 6.0, 10.0, 13.0
_KEEP = 4.0
# Dictated words are held back while more of them may follow, but not for longer than so much audio:
# clients take a stream for dead that says nothing for five seconds of speech.
_LONGEST_HOLD = 3.0


@dataclass(slots=True)
class _Turn:
    """What is known of the open turn.

    Attributes:
        begin: The frame at which its audio begins.
        window: The frame at which the part begins that is still decoded.
        skipped: How many characters of the text were said before the window.
        voiced: Seconds of speech since the last settled word.
        heard: The frame up to which a decode has listened.
        moved: The frame up to which it had listened when it last heard something new.
        guess: What it heard then.
        late: Whether there was a sound of speech after the audio of the last decode of a pause.
        final: Chance that it ends with the newest pause.
        form: What was said of the words, in writing.
        said_at: Seconds of the stream at which something was said last.
    """

    begin: int
    window: int
    voiced: float
    words: Words = field(default_factory=Words)
    skipped: int = 0
    heard: int = 0
    moved: int = 0
    guess: str = ""
    late: bool = True
    final: float = 0.5
    form: WrittenForm = field(default_factory=WrittenForm)
    said_at: float = 0.0

    @property
    def wordless(self) -> float:
        """Seconds without a new word; noise may sound like speech for ever, but nobody does that.

        Less than three seconds may be one long word.
        """
        seconds = (self.heard - self.moved) / FRAMES_PER_SECOND
        return seconds if seconds >= 3.0 else 0.0


class Listener:
    """Hears one stream."""

    def __init__(
        self, voice: Callable[[Samples], float], thresholds: TurnThresholds, *, context: str = ""
    ) -> None:
        """Begin a stream.

        Args:
            voice: A VAD of its own: the chance, 0 to 1, that the next 512 samples are speech.
            thresholds: When turns start and end; may be changed at any time.
            context: Words to expect.

        Attributes:
            hurried: Set while the stream is behind real time: only what is needed is recognised.
            partial_every: Seconds of speech between two decodes of it; at least 0.5.
            wanted: Requests that were not taken yet.
        """
        self.thresholds = thresholds
        self.hurried = False
        self.partial_every = PARTIAL_EVERY
        self.wanted: list[Asked] = []
        self._context = context
        self._voice = voice
        self._mel = LogMel()
        self._likelihood = Likelihood()
        self._machine = TurnMachine("speech", logger)
        self._turn: _Turn | None = None
        self._partial: Asked | None = None
        self._judged: Asked | None = None
        self._held = False
        self._finishing = False
        self._rose = True
        self._steps = 0
        self._settled = 0
        self._said_something = False
        self._partial_at = 0.0

    @property
    def now(self) -> float:
        """Seconds of the stream heard so far."""
        return self._steps * STEP_SECONDS

    @property
    def likelihood(self) -> float:
        """The likelihood, 0 to 1, that the user is in a turn."""
        return self._likelihood.value

    @property
    def pause(self) -> float:
        """Seconds since the last speech of the open turn; infinite when none is open."""
        return self._likelihood.pause

    @property
    def waiting(self) -> bool:
        """Whether no audio may be given before a request is answered."""
        if self._judged and not self._judged.answer:
            return self._held or self._finishing or self._due()
        if self._partial and self._turn:
            return self._frame - self._turn.window > _CUT_ANYWHERE * FRAMES_PER_SECOND
        return False

    @property
    def idle(self) -> bool:
        """Whether no turn is open."""
        return self._turn is None

    @property
    def _frame(self) -> int:
        return len(self._mel)

    def hear(self, samples: Samples) -> list[TurnEvent]:
        """Take the next 32 ms: 512 samples at 16 kHz. Not while `waiting`."""
        self._mel.append(samples)
        self._steps += 1
        likelihood = self._likelihood
        likelihood.step(self._voice(samples))
        if turn := self._turn:
            if likelihood.voiced:
                turn.voiced += STEP_SECONDS
                turn.late = True
            if not likelihood.in_pause and (judged := self._judged):
                # It was no end. What was heard up to here is as good as a partial.
                self._judged = None
                if judged.answer is None:
                    self._partial = judged
        return self._go_on()

    def answer(self, asked: Asked, answer: Answer) -> list[TurnEvent]:
        """Take what came of a request."""
        asked.answer = answer
        events: list[TurnEvent] = []
        if self._turn and self.awaits(asked):
            events += self._guess(self._turn, asked, answer)
        if asked is self._partial:
            self._partial = None
        if asked is self._judged:
            events += self._go_on()
        return events

    def needs(self, asked: Asked) -> bool:
        """Whether a request that was not begun is worth it, be it for an interim; any thread."""
        return asked is self._judged or (asked.kind is Kind.PARTIAL and asked is self._partial)

    def awaits(self, asked: Asked) -> bool:
        """Whether a request that was begun is still worth an answer; any thread."""
        return asked is self._judged or asked is self._partial

    def drop(self, asked: Asked) -> None:
        """A request that nobody needs will not be answered."""
        if asked is self._partial:
            self._partial = None

    def finish(self) -> list[TurnEvent]:
        """There is no more audio: end an open turn, after an answer if one is wanted."""
        self._finishing = True
        return self._go_on()

    def _go_on(self) -> list[TurnEvent]:
        """Decide what the present moment means."""
        turn = self._turn
        if turn is None:
            return self._perhaps_start()
        self._ask(turn)
        if self.waiting:
            return []
        if self._judged and self._judged.answer and self._due():
            self._judge(turn, self._judged.answer)
        quiet = max(self._likelihood.pause, turn.wordless)
        decision = decide(self._machine.state, self.likelihood, quiet, self.thresholds)
        if self._finishing:
            decision = Decision.END
        self._held = False
        match decision:
            case Decision.EAGER_END | Decision.END if turn.late:
                self._ask_pause(turn)
                self._held = True
            case Decision.EAGER_END:
                return self._eager_end(turn)
            case Decision.END:
                return self._end(turn)
            case Decision.RESUME:
                return self._resume(turn)
        return []

    # Events

    def _perhaps_start(self) -> list[TurnEvent]:
        """Start a turn when the likelihood has risen; after a time-out it must have fallen."""
        decision = decide(self._machine.state, self.likelihood, 0.0, self.thresholds)
        if decision is not Decision.START:
            self._rose = False
            return []
        if self._rose or self._finishing:
            return []
        self._rose = True
        self._likelihood.begin()
        lead = round((self._likelihood.onset - _LEAD) * FRAMES_PER_SECOND)
        begin = max(lead, self._settled, 0)
        voiced = self.now - self._likelihood.onset
        self._turn = _Turn(
            begin, begin, voiced, heard=self._frame, moved=self._frame, said_at=self.now
        )
        self._partial_at = -math.inf
        self._judged = self._partial = None
        return [self._event(TurnStart())]

    def _guess(self, turn: _Turn, asked: Asked, answer: Answer) -> list[TurnEvent]:
        """Say what several decodes agree on."""
        if self._machine.state is not TurnState.SPEAKING:
            return []
        turn.heard = asked.end
        if answer.following != turn.guess:
            turn.moved, turn.guess = asked.end, answer.following
        characters, frames = answer.cut
        turn.skipped += characters
        turn.window += frames
        new = turn.words.guess(answer.following, answer.sure)
        too_long = self._frame - turn.window > _CUT_ANYWHERE * FRAMES_PER_SECOND
        if too_long and not new:
            new = turn.words.settle(answer.following)
            self._cut_window(turn, asked.end)
        # What is said now is not settled once more when the pause goes on.
        asked.answer = replace(answer, following=answer.following[len(new) :])
        before = turn.form.text
        overdue = self.now - turn.said_at >= _LONGEST_HOLD
        said = self._said(turn, pause=False, overdue=overdue)
        return [self._event(TurnUpdate(said))] if turn.form.text != before else []

    def _judge(self, turn: _Turn, answer: Answer) -> None:
        """Let the pause lower the likelihood, as far as it sounds like an end."""
        if answer.final is not None:
            turn.final = answer.final
        elif not turn.words.text and not answer.following:
            turn.final = 1.0  # a noise: nobody waits for the rest of it
        self._likelihood.judge(turn.final)

    def _eager_end(self, turn: _Turn) -> list[TurnEvent]:
        self._settle(turn)
        if not turn.words.text:
            return []
        return [self._event(TurnEagerEnd(self._said(turn, pause=True)))]

    def _resume(self, turn: _Turn) -> list[TurnEvent]:
        if self._frame - turn.window > _CUT_IN_PAUSE * FRAMES_PER_SECOND:
            lead = round((self._likelihood.onset - _LEAD) * FRAMES_PER_SECOND)
            self._cut_window(turn, max(lead, self._settled))
        self._partial_at = self.now
        turn.heard = turn.moved = self._frame
        return [self._event(TurnResume())]

    def _end(self, turn: _Turn) -> list[TurnEvent]:
        self._settle(turn)
        text = self._said(turn, pause=True)
        self._said_something = self._said_something or bool(text)
        self._turn = self._judged = self._partial = None
        self._likelihood.forget()
        return [self._event(TurnEnd(text))]

    def _event(self, event: TurnEvent) -> TurnEvent:
        self._machine.advance(type(event))
        return event

    def _said(self, turn: _Turn, *, pause: bool, overdue: bool = False) -> str:
        """The turn's text, see `WrittenForm`; only the stream's first begins with no space."""
        before = turn.form.text
        text = turn.form.write(turn.words.text, pause=pause, overdue=overdue)
        if text != before:
            turn.said_at = self.now
        return text if self._said_something else text.lstrip()

    def _settle(self, turn: _Turn) -> None:
        """Settle everything up to the pause."""
        judged = self._judged
        if judged and judged.answer and not judged.settled:
            judged.settled = True
            turn.words.settle(judged.answer.following)
            self._settled = judged.end
            turn.voiced = 0.0

    def _cut_window(self, turn: _Turn, frame: int) -> None:
        turn.window = frame
        turn.skipped = len(turn.words.text)

    # Requests

    def _due(self) -> bool:
        return self._likelihood.pause >= _DUE or self._finishing

    def _ask(self, turn: _Turn) -> None:
        """Have recognised what must be, or what may be."""
        if self._likelihood.pause >= _PAUSE:
            # What sounded like speech after that is heard, too, while there is time.
            more = turn.late and not self._likelihood.voiced and not self._due()
            if self._judged is None or more:
                self._ask_pause(turn)
            return
        if self._finishing:
            return
        too_long = self._frame - turn.window > _CUT * FRAMES_PER_SECOND
        every = self.partial_every if turn.words.text else self.partial_every / 2
        due = self.now - self._partial_at >= every and turn.voiced >= _PARTIAL_VOICED
        if due and self._partial is None and (too_long or not self.hurried):
            keep = round(_KEEP * FRAMES_PER_SECOND) if too_long else None
            self._partial = self._request(turn, Kind.PARTIAL, keep)
            self._partial_at = self.now

    def _ask_pause(self, turn: _Turn) -> None:
        self._partial = None
        turn.late = False
        self._partial_at = self.now
        self._judged = self._request(turn, Kind.PAUSE)

    def _request(self, turn: _Turn, kind: Kind, keep: int | None = None) -> Asked:
        end = self._frame
        if end - turn.window > AUDIO_FRAMES:
            self._cut_window(turn, max(self._settled, end - AUDIO_FRAMES))
        request = Request(
            features=self._mel.whisper(turn.window, end, WINDOW_FRAMES, lead=LEAD_FRAMES),
            frames=end - turn.window,
            voiced=turn.voiced,
            prefix=turn.words.text[turn.skipped :],
            context=self._context,
            melody=(
                self._mel.smart_turn(turn.begin, end, SMART_TURN_FRAMES)
                if kind is Kind.PAUSE
                else None
            ),
            keep=keep,
        )
        asked = Asked(kind, request, end)
        self.wanted.append(asked)
        return asked
