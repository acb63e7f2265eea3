"""Moving over is one import: what LiveKit's own Cartesia STT has, ours has, too."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from livekit.agents import stt
from livekit.plugins import cartesia

from cartesia_ink_plugins import livekit as ink
from tests.livekit.conftest import MakeSTT

# Speech synthesis is not what this plugin is for.
LEFT_OUT = {"TTS", "ChunkedStream"}
URL = "http://127.0.0.1:9"


def public(kind: type) -> Iterator[str]:
    return (name for name in dir(kind) if not name.startswith("_"))


def arguments(method: Any) -> set[str]:
    return set(inspect.signature(method).parameters)


def test_every_name_of_the_package_is_there() -> None:
    assert set(cartesia.__all__) - set(ink.__all__) == LEFT_OUT


async def test_every_method_takes_the_same_arguments(
    make_ink: MakeSTT, make_builtin: MakeSTT
) -> None:
    mine, theirs = make_ink(URL), make_builtin(URL)
    assert arguments(type(theirs)) <= arguments(type(mine))
    for own, other in ((mine, theirs), (mine.stream(), theirs.stream())):
        for name in public(type(other)):
            assert hasattr(own, name), name
            if inspect.isfunction(method := getattr(type(other), name)):
                assert arguments(method) <= arguments(getattr(type(own), name)), name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"language": "en"},
        {"language": "en-US"},
        {"model": "ink-2"},
        pytest.param({"language": "de"}, marks=pytest.mark.needs("livekit-agents>=1.8.9")),
        pytest.param({"model": "ink-whisper"}, marks=pytest.mark.needs("livekit-agents>=1.8.9")),
    ],
    ids=str,
)
def test_it_is_the_same_model_and_can_no_less(options: dict[str, Any]) -> None:
    mine, theirs = (kind(api_key="sk_test", **options) for kind in (ink.STT, cartesia.STT))
    assert (mine.model, mine.provider) == (theirs.model, theirs.provider)
    for field in fields(stt.STTCapabilities):
        own, other = (getattr(it.capabilities, field.name) for it in (mine, theirs))
        assert own or not other, field.name


@pytest.mark.needs("livekit-agents>=1.8.9")
def test_who_gets_a_model_without_turns_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "livekit.plugins.cartesia_ink"):
        german = ink.STT(api_key="sk_test", language="de")
    assert "detects no turns" in caplog.text
    german.update_options(language="fr")
    assert "still listens for 'de'" in caplog.text


async def test_a_stream_has_options_of_its_own(
    make_ink: MakeSTT, caplog: pytest.LogCaptureFixture
) -> None:
    stream = make_ink(URL).stream()
    stream.update_options(language="en-GB", model="ink-3")
    assert stream.language == "en-GB"
    assert "the model stays 'ink-2'" in caplog.text
