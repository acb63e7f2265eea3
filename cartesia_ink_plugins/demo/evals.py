"""Our own voice and judge for `pipecat eval`: a scenario needs no key, no network and no model.

A scenario names them as `factory:`; `examples/evals/book_a_table.yaml` does. Pipecat 1.14 or newer.
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
    """The caller's voice: offline, and somewhat slower than the bot's.

    Args:
        config: The block that names this factory; its `sample_rate` is in Hz.
    """
    return OfflineTTSService(Voice.load_now(int(config.get("sample_rate", _SAMPLE_RATE))))


def judge(config: Mapping[str, Any]) -> BaseClassifier:
    """The judge: by what is quoted in a criterion.

    Args:
        config: The block that names this factory.
    """
    return QuoteJudge()  # type: ignore[no-untyped-call]


class QuoteJudge(BaseClassifier):
    """Accepts a reply that says everything its criterion has in quotes; needs no language model.

    Case and punctuation count; a reply that lacks something may still be on its way.
    """

    async def _ask(
        self,
        state: str | dict[str, Any] | list[Any],
        questions: Mapping[str, ClassifierQuestion],
        images: Sequence[ClassifierImage] = (),
    ) -> tuple[dict[str, ClassifierResult], LLMTokenUsage | None]:
        if not isinstance(state, dict) or "latest_bot_reply" not in state:
            raise ClassifierError("this judge only judges replies; ask for `event: response`")
        return {
            name: _verdict(str(state["latest_bot_reply"]), q) for name, q in questions.items()
        }, None


def _verdict(reply: str, question: ClassifierQuestion) -> ChoiceResult:
    _, _, criterion = str(question.instructions).rpartition("Criterion:")
    phrases = _QUOTED.findall(criterion)
    if not isinstance(question, ChoiceQuestion) or not phrases:
        raise ClassifierError('a criterion must quote what is to be said, such as: asks "when"')
    missing = "continue" if "continue" in question.options else "no"
    choice = "yes" if all(phrase in reply for phrase in phrases) else missing
    options = question.options
    chances = {option: float(option == choice) for option in options}
    return ChoiceResult(choice=choice, probabilities=chances, confidence=1.0)
