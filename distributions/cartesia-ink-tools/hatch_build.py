"""Take the version and the dependencies from the project that this package belongs to."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).resolve().parents[2]


class ToolsMetadata(MetadataHookInterface):
    """What the package shares with the plugins."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what `pyproject.toml` beside this file calls dynamic."""
        plugins = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        version = runpy.run_path(str(ROOT / "cartesia_ink_plugins/version.py"))["__version__"]
        metadata["version"] = version
        # The second is for replays on a virtual clock.
        metadata["dependencies"] = [f"{plugins['name']}=={version}", "time-machine>=3,<4"]
        metadata["optional-dependencies"] = {
            extra: [f"{plugins['name']}[{extra}]=={version}"] for extra in ("speech", "demo")
        }
        for shared in ("authors", "classifiers", "urls"):
            metadata[shared] = plugins[shared]
