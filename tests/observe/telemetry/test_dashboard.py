"""Every query of the Grafana dashboard is about names and labels that are really exported."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart
from cartesia_ink_plugins.core.options import TurnsOptions
from cartesia_ink_plugins.core.tap import Moment, MomentKind, SessionStart
from tests.needs import ROOT
from tests.observe.telemetry.test_prometheus import scrape

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
FUNCTIONS = {"by", "histogram_quantile", "increase", "label_values", "rate", "sum"}
NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"


def queries() -> list[Any]:
    """Every query of the dashboard, with its panel as its name."""
    found = [
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]
    variables = DASHBOARD["templating"]["list"]
    return found + [
        pytest.param(variable["query"], id=variable["name"])
        for variable in variables
        if variable["type"] == "query"
    ]


def parts(query: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that a query names."""
    labels = set(re.findall(rf"({NAME})\s*(?:=~|!=|=)", query))
    for group in re.findall(r"by \(([^)]*)\)", query):
        labels |= set(re.findall(NAME, group))
    labels |= set(re.findall(rf"label_values\(.*,\s*({NAME})\)", query))
    bare = re.sub(r'"[^"]*"|\$[\w]+|by \([^)]*\)|\{[^}]*\}|\[[^\]]*\]', " ", query)
    return set(re.findall(NAME, bare)) - FUNCTIONS - labels, labels


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each sample of a scrape, by its name."""
    samples: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(scrape(rejected)):
        for sample in family.samples:
            samples[sample.name] |= set(sample.labels)
    return samples


def rejected(tap: Any) -> None:
    """A turn that failed, so that `error_type` is exported."""
    tap.on(Moment(0.0, MomentKind.STARTED, 0, 0, SessionStart("s", TurnsOptions(), 0.0)))
    tap.on(Moment(1.0, MomentKind.EVENT, 1, 1, TurnStart()))
    error = RejectedError("", status=402, code=None, request_id=None)
    tap.on(Moment(2.0, MomentKind.REJECTED, 1, 1, error))
    tap.on(Moment(2.0, MomentKind.EVENT, 1, 1, TurnEnd("Yes.")))


@pytest.mark.parametrize("query", queries())
def test_a_query_names_what_is_exported(query: str, exported: dict[str, set[str]]) -> None:
    metrics, labels = parts(query)
    assert len(metrics) == 1, query
    [metric] = metrics
    assert metric in exported
    assert labels <= exported[metric]


def test_every_metric_of_ours_is_in_a_query(exported: dict[str, set[str]]) -> None:
    named = {name for query in queries() for name in parts(query.values[0])[0]}
    families = {re.sub(r"_(bucket|count|sum|total|created)$", "", name) for name in exported}
    ours = {name for name in families if name.startswith(("cartesia_ink", "gen_ai"))}
    assert ours == {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in named}


def test_a_query_about_another_name_would_fail(exported: dict[str, set[str]]) -> None:
    metrics, labels = parts('sum by (colour) (rate(cartesia_ink_words_total{mood="x"}[5m]))')
    assert metrics == {"cartesia_ink_words_total"} and not metrics & set(exported)
    assert labels == {"colour", "mood"}


def test_panels_have_what_grafana_needs() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) == 8
    for panel in DASHBOARD["panels"]:
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        assert {"x", "y", "w", "h"} == set(panel["gridPos"])
