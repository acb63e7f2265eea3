"""Sentence data for older versions of Pipecat, which would download them.

They cut sentences with NLTK, whose data are lists of exceptions, such as abbreviations. With empty
lists every full stop that is followed by a space ends a sentence: right for what our bots say.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

_FILES = ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt")


def provide(folder: Path) -> None:
    """Put the data into a folder and make them known, to this process and to its children."""
    if importlib.util.find_spec("nltk") is None:
        return
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    for name in _FILES:
        (english / name).touch()
    os.environ["NLTK_DATA"] = str(folder)
    importlib.import_module("nltk").data.path.insert(0, str(folder))
