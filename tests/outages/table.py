"""The rows of "When the connection fails" in docs/benchmarks.md, and the test of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.outages.scenarios import CROWD, FLOODED, REFUSALS, SCENARIOS, Scenario, busy

SUITE = "tests/outages/test_outages.py"
VIRTUAL = "tests/core/test_outages.py"
SOAK = "tests/core/test_soak.py"
HEAD = ("What happens", "This plugin", "Pipecat's own", "LiveKit's own")


class Measure(Enum):
    """What is looked at in the outcome of a call."""

    FLOW = "when audio flows again"
    ERRORS = "of how many errors the application is told"
    READY = "when the first audio is taken"
    WORDS = "nothing but the words"
    REFUSAL = "when and how often a refusal is told"
    CROWD = "when many callers come back"
    MEMORY = "how much memory it takes"
    SOAK = "a day"


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        scenario: What happens; None for the day, which is lived in virtual time.
        measure: What is looked at.
        test: The file whose tests hold it.
        name: What the page calls it; the scenario's name if it is empty.
    """

    scenario: Scenario | None
    measure: Measure
    test: str = SUITE
    name: str = ""

    @property
    def title(self) -> str:
        """What the page calls it."""
        return self.name or (self.scenario.name if self.scenario else "")


def _named(name: str) -> Scenario:
    [found] = [scenario for scenario in (*SCENARIOS, *REFUSALS) if scenario.name == name]
    return found


ROWS = (
    Row(_named("RST in mid-turn"), Measure.FLOW),
    Row(_named("server away for 1 s in mid-turn"), Measure.FLOW),
    Row(_named("server away for 6 s in mid-turn"), Measure.FLOW),
    Row(_named("server away for 14 s in mid-turn"), Measure.FLOW, VIRTUAL),
    Row(_named("server away for 45 s in mid-turn"), Measure.FLOW, VIRTUAL),
    Row(_named("five connections that live half a second"), Measure.FLOW),
    Row(_named("half-open in mid-turn"), Measure.FLOW),
    Row(_named("open but silent in mid-turn"), Measure.FLOW),
    Row(_named("closed for idleness, then a turn"), Measure.ERRORS),
    Row(_named("401"), Measure.REFUSAL),
    Row(_named("thresholds that the server does not take"), Measure.REFUSAL),
    Row(_named("429 with Retry-After: 1, twice"), Measure.FLOW),
    Row(_named("503 for 2 s in mid-turn"), Measure.FLOW),
    Row(busy(CROWD), Measure.CROWD, name="50 callers refused together: 429, Retry-After: 1"),
    Row(_named("hung handshake at the start"), Measure.READY),
    Row(_named("malformed messages"), Measure.WORDS),
    Row(FLOODED, Measure.MEMORY, SOAK, "150 000 unknown messages and 60 MB in huge ones"),
    Row(None, Measure.SOAK, SOAK, "24 h of conversation, a drop every 3 min (virtual time)"),
)
