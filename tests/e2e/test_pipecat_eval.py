"""`pipecat eval` with `examples/pipecat_bot.py`: offline, with our own voice and judge."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipecat.classifiers.base_classifier import ChoiceQuestion, ClassifierError
from pipecat.evals.scenario import EvalScenarioFile
from pipecat.evals.session import EvalSession

from cartesia_ink_plugins.demo.evals import judge
from tests.e2e.bots import EXAMPLES, running_bot

OPTIONS = dict.fromkeys(("yes", "no", "continue"))


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # of Pipecat's harness
async def test_the_example_bot_passes_its_eval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPECAT_EVALS_CACHE_DIR", str(tmp_path))
    (scenario,) = EvalScenarioFile.load(EXAMPLES / "evals" / "book_a_table.yaml")
    async with running_bot() as bot:
        url = f"{bot.url.replace('http', 'ws')}/ws"
        result = await EvalSession.from_scenario(scenario, url).run()
    assert result.passed, result.failures


@pytest.mark.parametrize(
    ("reply", "verdict"), [("Very well. At what time?", "yes"), ("Very well.", "continue")]
)
async def test_a_reply_has_to_say_what_is_quoted(reply: str, verdict: str) -> None:
    question = ChoiceQuestion(instructions='Criterion: asks "At what time?".', options=OPTIONS)
    answers = await judge({}).choice({"latest_bot_reply": reply}, {"reply": question})
    assert answers["reply"].choice == verdict


async def test_a_criterion_without_a_quotation_is_refused() -> None:
    question = ChoiceQuestion(instructions="Criterion: is polite.", options=OPTIONS)
    with pytest.raises(ClassifierError, match="quote"):
        await judge({}).choice({"latest_bot_reply": "Hi"}, {"reply": question})
