"""The bill of materials: what each extra brings, and under which licences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distributions.sbom import EXTRAS, NAME, OPTIONAL_GPL, components, document, main

# The licences are those of the newest versions.
pytestmark = pytest.mark.needs("pipecat-ai>=1.14", "piper-tts>=1.8")


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_package_has_a_licence_and_only_the_voice_of_the_demo_is_under_gpl(
    extra: str,
) -> None:
    found = components(extra)
    assert {"numpy", "websockets"} <= found.keys()
    assert [one.name for one in found.values() if not one.licence] == []
    under_gpl = {one.name for one in found.values() if one.licence.startswith(("GPL", "AGPL"))}
    assert under_gpl == (OPTIONAL_GPL if extra == "demo" else set())


def test_the_package_itself_brings_two_others() -> None:
    assert components("").keys() == {"numpy", "websockets"}


def test_what_an_extra_brings_is_what_its_packages_require() -> None:
    bill = document("pipecat")
    references = {one["bom-ref"] for one in bill["components"]}
    assert any(reference.startswith("pkg:pypi/pipecat-ai@") for reference in references)
    # An extra of a requirement, and what a package requires in its turn.
    assert {one["ref"] for one in bill["dependencies"]} == references
    for one in bill["dependencies"]:
        assert set(one["dependsOn"]) <= references


def test_files_are_written_and_are_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(tmp_path / "1")
    main(tmp_path / "2")
    files = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(files) == len(EXTRAS)
    for name in files:
        written = (tmp_path / "1" / name).read_bytes()
        assert written == (tmp_path / "2" / name).read_bytes()
        bill = json.loads(written)
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
        assert bill["metadata"]["component"]["name"].startswith(NAME)
    assert "GPL-3.0-or-later" in capsys.readouterr().out
