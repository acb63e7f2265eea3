"""The documentation as a site, by Sphinx: `make docs`.

Links to files of the repository lead to the repository, whose address is in `[project.urls]`. A
page that `SECTIONS` does not name is shown under "More", so that a new page needs no edit.
"""

from __future__ import annotations

import importlib
import posixpath
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SOURCE: str = PROJECT["urls"]["Source"]
SITE: str = PROJECT["urls"]["Documentation"]
SECTIONS: dict[str, tuple[str, ...]] = {
    "Guides": (
        "pipecat",
        "livekit",
        "livekit-fleet",
        "asyncio",
        "testing",
        "observability",
        "recording",
        "timeline",
        "doctor",
        "examples",
    ),
    "Moving over": ("drop-in", "migrate/*"),
    "Reference": ("resilience", "protocol", "benchmarks", "api/*"),
    "More": ("*",),
    "Development": ("architecture", "releasing"),
}
"""Which pages stand where; a pattern stands for the pages that no entry names."""
API_MODULES = {
    "api/asyncio": "cartesia_ink_plugins",
    "api/pipecat": "cartesia_ink_plugins.pipecat",
    "api/livekit": "cartesia_ink_plugins.livekit",
    "api/testing": "cartesia_ink_plugins.testing",
}
"""The module of each page of the API, in the order in which pages describe what they share."""

sys.path.insert(0, str(ROOT))

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
copyright = "Apache-2.0. Community maintained; not affiliated with Cartesia"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["site"]

myst_heading_anchors = 4

autodoc_class_signature = "mixed"
autodoc_member_order = "alphabetical"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_default_options = {"members": True, "inherited-members": False, "show-inheritance": False}

html_theme = "furo"
html_title = PROJECT["name"]
html_baseurl = SITE
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": SOURCE,
    "source_branch": "main",
    "source_directory": "docs/",
}

_LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)]*)?\)")


def sections() -> dict[str, list[str]]:
    """The pages of each section, in the order in which they are read."""
    named = {page for pages in SECTIONS.values() for page in pages} | {"index"}
    return {
        title: [page for pattern in patterns for page in _pages(pattern, named)]
        for title, patterns in SECTIONS.items()
    }


def _pages(pattern: str, named: set[str]) -> list[str]:
    found = [
        path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob(f"{pattern}.md")
    ]
    return sorted(page for page in found if "*" not in pattern or page not in named)


def lead_into_repository(app: object, page: str, source: list[str]) -> None:
    """Let links to files that are no pages lead to the repository; put the pages into a tree."""
    folder = posixpath.dirname(page)

    def lead(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        if path.startswith("docs/") and not path.startswith("docs/site/"):
            return link[0]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{link[1]}{SOURCE}/{kind}/main/{path}{link[3] or ''})"

    text = _LINK.sub(lead, source[0])
    if page == "index":
        for title, pages in sections().items():
            if pages:
                listed = "\n".join(pages)
                text += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n"
    source[0] = text


def write_for_language_models(app: Any, failure: Exception | None) -> None:
    """Write `llms.txt`, the list of pages for language models, and all pages in one file."""
    if failure is not None or app.builder.name != "html":
        return
    lines = [f"# {project}", "", f"> {PROJECT['description']} {copyright}.", ""]
    whole: list[str] = []
    for title, pages in {"Start": ["index"], **sections()}.items():
        lines += [f"## {title}", ""] if pages else []
        for page in pages:
            text = (DOCS / f"{page}.md").read_text("utf-8")
            lines.append(f"- [{heading(text)}]({SITE}{page}.html): {summary(text)}")
            whole.append(f"<!-- {SITE}{page}.html -->\n\n{text}")
        lines += [""] if pages else []
    (Path(app.outdir) / "llms.txt").write_text("\n".join(lines), "utf-8")
    (Path(app.outdir) / "llms-full.txt").write_text("\n\n".join(whole), "utf-8")


def heading(text: str) -> str:
    """The title of a page."""
    return text.split("\n", 1)[0].removeprefix("# ").replace("`", "")


def summary(text: str) -> str:
    """The first sentence of a page that stands neither in a heading nor in a table nor in code."""
    body = re.sub(r"^(```.*?^```$|#[^\n]*$|\|[^\n]*$)", "", text, flags=re.M | re.S)
    paragraph = " ".join(body.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.])\s(?=[A-Z`])", paragraph)[0].rstrip(":")
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", sentence)


def is_described_elsewhere(
    app: Any, what: str, name: str, described: object, skip: bool, options: object
) -> bool | None:
    """Describe what several modules export on the page of the first of them only."""
    if what != "module":
        return None
    for page, module in API_MODULES.items():
        if page == app.env.docname:
            return None
        if getattr(importlib.import_module(module), name, None) is described:
            return True
    return None


def setup(app: Any) -> None:
    """Connect the functions of this file."""
    app.connect("autodoc-skip-member", is_described_elsewhere)
    # The first page lists all pages, so that each new one changes it.
    app.connect("env-get-outdated", lambda *_: ["index"])
    app.connect("source-read", lead_into_repository)
    app.connect("build-finished", write_for_language_models)
