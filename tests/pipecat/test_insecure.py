"""Key and audio go to another machine over TLS only, unless the service is told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cartesia_ink_plugins import UsageError
from cartesia_ink_plugins.pipecat import (
    InkBatchSTTService,
    InkManualSTTService,
    InkTurnsSTTService,
)

PLAIN = "http://ink.example"
SERVICES = pytest.mark.parametrize(
    "make",
    [
        partial(InkTurnsSTTService, url=PLAIN, api_key="k"),
        partial(InkManualSTTService, base_url=PLAIN, api_key="k"),
        partial(InkBatchSTTService, base_url=PLAIN, api_key="k"),
    ],
    ids=["turns", "manual", "batch"],
)


@SERVICES
async def test_a_plain_address_is_an_error_of_the_constructor(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARTESIA_ALLOW_INSECURE", raising=False)
    for refused in ({}, {"allow_insecure": False}):
        with pytest.raises(UsageError, match=r"^(base_)?url: .* allow_insecure=True"):
            make(**refused)
    make(allow_insecure=True)
    monkeypatch.setenv("CARTESIA_ALLOW_INSECURE", "1")
    make()
    with pytest.raises(UsageError):
        make(allow_insecure=False)
