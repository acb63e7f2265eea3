"""The documentation has every name that is told, and no other."""

from __future__ import annotations

import re

from cartesia_ink_plugins.observe.telemetry import names
from tests.needs import ROOT

PAGE = (ROOT / "docs" / "observability.md").read_text("utf-8")
TABLES = PAGE.split("### Spans")[1].replace("`cartesia.ink.settings.*`", "`cartesia.ink.settings.`")


def test_every_name_is_documented() -> None:
    told = {
        value
        for name, value in vars(names).items()
        if name.isupper() and name not in ("SCOPE", "SETTINGS")
    }
    assert [name for name in sorted(told) if f"`{name}`" not in TABLES] == []


def test_every_name_of_the_documentation_is_told() -> None:
    told = {value for value in vars(names).values() if isinstance(value, str)}
    documented = set(re.findall(r"`((?:gen_ai|cartesia|error|server)\.[a-z_.]+)`", TABLES))
    assert documented - {"cartesia.ink.settings."} <= told
    assert len(documented) > 20
