"""The documentation as a site: every page has a place, pictures are those that the code draws.

`make docs` builds it; there, a warning is an error.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins.testing import InkServer, Script
from docs.site import conf
from docs.site.pictures import FOLDER, PICTURES
from tests.needs import ROOT

DOCS = ROOT / "docs"
SCRIPT = Script("A table for two ... please.", " Thank you.")

# What the guides of Cartesia's for people who move name, of the other side.
FLUX = """
    model=flux-general-en encoding=linear16 linear32 mulaw alaw sample_rate language_hint
    eager_eot_threshold eot_threshold eot_timeout_ms keyterm cartesia_version=2026-03-01
    "type":"CloseStream" "type":"Configure" StartOfTurn Update EagerEndOfTurn TurnResumed EndOfTurn
    Connected Error turn.start turn.update turn.eager_end turn.resume turn.end connected error
    turn_index audio_window_start audio_window_end words end_of_turn_confidence sequence_id
    languages languages_hinted
""".split()
NOVA = """
    model=nova-3 version encoding=linear16 linear32 mulaw alaw sample_rate language channels
    multichannel endpointing vad_events diarize keyterm keywords mip_opt_out
    cartesia_version=2026-03-01 pcm_s16le pcm_s32le pcm_mulaw pcm_alaw pcm_f16le pcm_f32le flac
    amr-nb amr-wb opus ogg-opus speex g729 "type":"Finalize" finalize "type":"CloseStream" close
    "type":"KeepAlive" Results transcript UtteranceEnd SpeechStarted flush_done done Metadata error
    channel_index duration start is_final speech_final confidence words punctuated_word
""".split()


def in_code(page: str) -> set[str]:
    """The words that stand in code on a page, whole and in their parts."""
    spans = re.findall(r"`([^`\n]+)`", (DOCS / "migrate" / page).read_text("utf-8"))
    return {part for span in spans for part in (span, *re.split(r"[\s,={}.\[\]]+", span))} | set(
        spans
    )


@pytest.mark.parametrize(
    ("page", "names"), [("deepgram-flux.md", FLUX), ("deepgram-nova.md", NOVA)]
)
def test_a_migration_page_maps_every_parameter_and_event(page: str, names: list[str]) -> None:
    assert [name for name in names if name not in in_code(page)] == []


def snippets(page: str) -> list[str]:
    text = (DOCS / "migrate" / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


async def test_the_program_that_replaces_flux_prints_the_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARTESIA_API_KEY", "any")
    names: dict[str, Any] = {}
    exec(snippets("deepgram-flux.md")[0], names)
    async with InkServer(SCRIPT) as server:
        options = TurnsOptions(base_url=server.url)
        async with InkTurnsClient(options, Credentials(api_key="any")) as client:
            client.send_audio(SCRIPT.audio())
            await asyncio.gather(client.finish(), names["print_turns"](client))
    printed = capsys.readouterr().out.splitlines()
    said = [line.removeprefix("the user said: ") for line in printed if "said" in line]
    assert said == list(SCRIPT.transcripts)
    assert printed[0] == "the user speaks"


async def test_the_program_that_replaces_nova_returns_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names: dict[str, Any] = {}
    exec(snippets("deepgram-nova.md")[0], names)
    async with InkServer(SCRIPT) as server:
        monkeypatch.setenv("CARTESIA_API_KEY", "any")
        monkeypatch.setenv("CARTESIA_BASE_URL", server.url)
        text = await names["transcribe_utterance"](SCRIPT.audio())
    assert text == "".join(SCRIPT.transcripts)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_code_draws(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == PICTURES[name](), "make pictures"


def test_every_page_stands_once_in_the_navigation() -> None:
    pages = [page for section in conf.sections().values() for page in section]
    every = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(["index", *pages]) == sorted(every)


def test_every_page_can_be_described_in_a_sentence() -> None:
    for path in DOCS.rglob("*.md"):
        text = path.read_text("utf-8")
        assert text.startswith("# "), path
        assert len(conf.summary(text)) > 20, path


def rewritten(page: str, text: str) -> str:
    source = [text]
    conf.lead_into_repository(None, page, source)
    return source[0]


def test_a_link_to_a_file_of_the_repository_leads_there() -> None:
    assert rewritten("migrate/x", "[a](../../tests/needs.py#top)") == (
        f"[a]({conf.SOURCE}/blob/main/tests/needs.py#top)"
    )
    assert rewritten("x", "[a](../tests/e2e)") == f"[a]({conf.SOURCE}/tree/main/tests/e2e)"
    for kept in ("[a](livekit.md#events)", "[a](https://docs.cartesia.ai)", "[a](#here)"):
        assert rewritten("x", kept) == kept


def test_pages_of_the_api_cover_what_each_package_exports() -> None:
    documented = {
        re.search(r"automodule:: (\S+)", path.read_text("utf-8"))[1]  # type: ignore[index]
        for path in (DOCS / "api").glob("*.md")
    }
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in [
            ROOT / "cartesia_ink_plugins" / "__init__.py",
            *Path(ROOT / "cartesia_ink_plugins").glob("*/__init__.py"),
        ]
        if "__all__" in path.read_text("utf-8")
    }
    assert packages <= documented | {"cartesia_ink_plugins.server"}
