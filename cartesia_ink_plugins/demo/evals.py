"""A voice and a judge for `pipecat eval` without key, network and model.

A scenario names them as `factory:`, as in `examples/evals/book_a_table.yaml`. Needs Pipecat 1.14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipecat.classifiers.base_classifier import (
    BaseClassifier,
    ChoiceQuestion,
    ChoiceResult,
    ClassifierError,
    ClassifierImage,
    ClassifierQuestion,
    ClassifierResult,
)
from pipecat.metrics.metrics import LLMTokenUsage

from cartesia_ink_plugins.demo.pipecat_services import OfflineTTSService
from cartesia_ink_plugins.demo.voice import Voice

_SAMPLE_RATE = 16_000
_QUOTED = re.compile(r'"([^"]+)"')


def voice(config: Mapping[str, Any]) -> OfflineTTSService:
    """Return the caller's voice, the offline one.

    Args:
        config: Configuration of the factory; `sample_rate` is in Hz.
    """
    return OfflineTTSService(Voice.load_now(int(config.get("sample_rate", _SAMPLE_RATE))))


def judge(config: Mapping[str, Any]) -> BaseClassifier:
    """Return the judge.

    Args:
        config: Configuration of the factory.
    """
    return QuoteJudge()  # type: ignore[no-untyped-call]


class QuoteJudge(BaseClassifier):
    """Accepts a reply that contains every quoted phrase of its criterion; needs no language model.

    Case and punctuation count. A reply that lacks a phrase may be incomplete: the verdict waits.
    """

    async def _ask(
        self,
        state: str | dict[str, Any] | list[Any],
        questions: Mapping[str, ClassifierQuestion],
        images: Sequence[ClassifierImage] = (),
    ) -> tuple[dict[str, ClassifierResult], LLMTokenUsage | None]:
        if not isinstance(state, dict) or "latest_bot_reply" not in state:
            raise ClassifierError("this judge supports only `event: response`")
        return {
            name: _verdict(str(state["latest_bot_reply"]), q) for name, q in questions.items()
        }, None


def _verdict(reply: str, question: ClassifierQuestion) -> ChoiceResult:
    _, _, criterion = str(question.instructions).rpartition("Criterion:")
    phrases = _QUOTED.findall(criterion)
    if not isinstance(question, ChoiceQuestion) or not phrases:
        raise ClassifierError('a criterion must have a quoted phrase, such as: asks "when"')
    missing = "continue" if "continue" in question.options else "no"
    choice = "yes" if all(phrase in reply for phrase in phrases) else missing
    options = question.options
    chances = {option: float(option == choice) for option in options}
    return ChoiceResult(choice=choice, probabilities=chances, confidence=1.0)
