"""Bots that speak, with any version of the frameworks and no network."""

from __future__ import annotations

import pytest

from tests import sentences


@pytest.fixture(autouse=True, scope="session")
def _sentences(tmp_path_factory: pytest.TempPathFactory) -> None:
    sentences.provide(tmp_path_factory.mktemp("nltk"))
