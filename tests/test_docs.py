"""What the README and docs/ say can be followed: links, snippets, commands, names, and numbers."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import pytest

from cartesia_ink_plugins import Resilience
from cartesia_ink_plugins.server.fault_text import parse_fault
from cartesia_ink_plugins.server.faults import POINTS, Action
from tests.needs import ROOT, livekit_server

DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
FLEET = (DOCS / "livekit-fleet.md").read_text("utf-8")
ENVIRONMENT = {
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "a secret of at least thirty-two characters",
    "CARTESIA_API_KEY": "any",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a page.

    Attributes:
        page: Where it is.
        text: Itself.
    """

    page: Path
    text: str

    def __str__(self) -> str:
        """Name it in one line."""
        return f"{self.page.name}: {self.text.strip().splitlines()[0]}"


def find(pattern: str, *pages: Path) -> list[Found]:
    """Return every match of a pattern, once a page."""
    return [
        Found(page, text)
        for page in pages or PAGES
        for text in dict.fromkeys(re.findall(pattern, page.read_text("utf-8"), re.M | re.S))
    ]


def rows(page: str, section: str = "") -> list[list[str]]:
    """Return the cells of the tables in a section of a page, without heads and rules."""
    text = (DOCS / page).read_text("utf-8")
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    tables = re.findall(r"^\|[^\n]*\n\|[-|]+\|\n((?:\|[^\n]*\n?)+)", text, re.M)
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]


def targets(cell: str, page: Path) -> list[Path]:
    """Return the files that a cell links to."""
    return [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+)\)", cell)]


# --- links, snippets, commands --------------------------------------------------------------------

SNIPPETS = find(r"^```python\n(.*?)^```$")
SHELL = r"^```sh\n(.*?)^```$"
MAKE_TARGETS = {
    name for block in find(SHELL) for name in re.findall(r"\bmake ([a-z-]+)", block.text)
}
COMMANDS = {
    name for block in find(SHELL) for name in re.findall(r"^cartesia-ink (\w+)", block.text, re.M)
}
EXAMPLES = {name for block in find(SHELL) for name in re.findall(r"examples/\w+\.py", block.text)}


@pytest.mark.parametrize("link", find(r"\]\(([^)#:]+)\)"), ids=str)
def test_a_link_leads_somewhere(link: Found) -> None:
    assert (link.page.parent / link.text).resolve().exists()


@pytest.mark.parametrize("link", find(r"\[[^\]]*`(\w+\.py)`\]\([^)]+\)", *PAGES), ids=str)
def test_a_file_has_the_name_by_which_it_is_linked(link: Found) -> None:
    links = re.findall(rf"`{re.escape(link.text)}`\]\(([^)]+)\)", link.page.read_text("utf-8"))
    assert all(Path(target).name == link.text for target in links)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_what_a_snippet_imports_exists(snippet: Found) -> None:
    imports = [
        node for node in ast.walk(ast.parse(snippet.text)) if isinstance(node, ast.ImportFrom)
    ]
    for statement in imports:
        module = importlib.import_module(statement.module or "")
        for name in statement.names:
            if not hasattr(module, name.name):
                importlib.import_module(f"{statement.module}.{name.name}")


@pytest.mark.parametrize(
    "snippet", [found for found in SNIPPETS if "asyncio.run(" not in found.text], ids=str
)
async def test_a_snippet_runs(snippet: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTESIA_API_KEY", "any")
    exec(compile(snippet.text, str(snippet.page), "exec"), {"__name__": "snippet"})


async def test_the_example_of_a_test_passes() -> None:
    [snippet] = [found for found in SNIPPETS if "async def test_" in found.text]
    names: dict[str, Any] = {}
    exec(compile(snippet.text, str(snippet.page), "exec"), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    await test()


@pytest.mark.parametrize("target", sorted(MAKE_TARGETS))
def test_a_make_target_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_explains_itself(command: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "cartesia_ink_plugins.cli.main", command, "--help"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert command in ran.stdout


def test_every_example_is_shown_and_exists() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        Path(example).name for example in EXAMPLES
    }


# --- architecture.md, resilience.md, testing.md ---------------------------------------------------

ARCHITECTURE = DOCS / "architecture.md"
CHANGES = rows("architecture.md", "Where to change what")
PATHS = [
    row
    for section in (
        "The path of one 20 ms frame, from `send_audio` to the socket",
        "The path of one `turn.eager_end`, from the socket to both frameworks",
    )
    for row in rows("architecture.md", section)
]


def test_ten_changes_are_described() -> None:
    assert len(CHANGES) == 10


@pytest.mark.parametrize("row", CHANGES, ids=lambda row: row[0])
def test_a_change_names_files_that_exist_and_a_test(row: list[str]) -> None:
    _, files, tests = row
    assert targets(files, ARCHITECTURE)
    assert all(path.is_file() for path in targets(files + tests, ARCHITECTURE))
    assert all(path.is_relative_to(ROOT / "tests") for path in targets(tests, ARCHITECTURE))
    for name, target, names in re.findall(r"\[`([\w/.]+)`\]\(([^)]+)\)(?: \(([^)]*)\))?", files):
        assert target.endswith(name), "the link is to another file than its text"
        source = (DOCS / target).read_text("utf-8")
        for identifier in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{identifier}\b", source), f"{name} has no {identifier}"


@pytest.mark.parametrize("row", PATHS, ids=lambda row: row[0])
def test_a_file_on_a_path_has_the_names_that_are_said_of_it(row: list[str]) -> None:
    file, text = row
    [path] = targets(file, ARCHITECTURE)
    source = path.read_text("utf-8")
    for identifier in re.findall(r"`(\w+)`", text):
        assert re.search(rf"\b{identifier}\b", source), f"{path.name} has no {identifier}"


BOUNDS = rows("resilience.md", "Bounds")


@pytest.mark.parametrize("row", BOUNDS, ids=lambda row: row[0])
def test_a_bound_has_a_test(row: list[str]) -> None:
    _, bound, tests = row
    files = targets(tests, DOCS / "resilience.md")
    assert files
    assert all(path.is_file() and path.is_relative_to(ROOT / "tests") for path in files)
    assert all(path.is_file() for path in targets(bound, DOCS / "resilience.md"))


@pytest.mark.parametrize("field", fields(Resilience), ids=lambda field: field.name)
def test_a_default_of_resilience_is_the_one_in_the_table(field: Any) -> None:
    default = f'"{field.default}"' if isinstance(field.default, str) else f"{field.default:g} "
    bounds = [bound for _, bound, _ in BOUNDS]
    assert any(f"`{field.name}`, {default}" in bound for bound in bounds), default


def test_every_fault_has_an_example() -> None:
    faults = [parse_fault(row[0].strip("`")) for row in rows("testing.md", "Faults")]
    assert {type(fault.action) for fault in faults} == set(get_args(Action))
    page = (DOCS / "testing.md").read_text("utf-8")
    assert all(f"`{point}`" in page for point in POINTS)


# --- livekit-fleet.md -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file, its variables filled in as Compose does."""
    yaml = pytest.importorskip("yaml", reason="pip install -e '.[dev]'")
    [text] = re.findall(r"^```yaml\n(services:.*?)^```$", FLEET, re.MULTILINE | re.DOTALL)
    filled = re.sub(r"\$\{(\w+)\}", lambda variable: ENVIRONMENT[variable[1]], text)
    loaded: dict[str, Any] = yaml.safe_load(filled)["services"]
    return loaded


def test_every_service_can_be_had_and_waits_for_one_that_exists(services: dict[str, Any]) -> None:
    for service in services.values():
        assert len({"image", "build"} & service.keys()) == 1
        assert set(service.get("depends_on", [])) <= services.keys()


def test_workers_get_the_variables_that_the_page_speaks_of(services: dict[str, Any]) -> None:
    environment = services["worker"]["environment"]
    assert {*ENVIRONMENT, "LIVEKIT_URL", "MAX_CALLS"} <= environment.keys()
    assert environment["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] == "0"
    most = int(environment["MAX_CALLS"]) * services["worker"]["deploy"]["replicas"]
    assert most <= 60  # streams of the largest plan


def test_what_sends_another_agent_is_the_example(services: dict[str, Any]) -> None:
    _, program = services["redispatch"]["command"]
    assert (ROOT / "examples" / program).is_file()
    config = services["livekit-1"]["environment"]["LIVEKIT_CONFIG"]
    [port] = re.findall(r"webhook: .*urls: \[\"http://[^:\"]+:(\d+)/\"\]", config)
    assert port in (ROOT / "examples" / program).read_text("utf-8")


@pytest.mark.needs("livekit-server")
def test_a_real_server_takes_the_configuration(services: dict[str, Any]) -> None:
    config = services["livekit-1"]["environment"]["LIVEKIT_CONFIG"]
    assert "use_external_ip: true" in config  # which it would ask the internet for
    offline = config.replace("use_external_ip: true", "use_external_ip: false")
    server = livekit_server()
    assert server is not None
    asked = subprocess.run(
        [server, "ports"],
        env={"LIVEKIT_CONFIG": offline},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 0, asked.stderr + asked.stdout
    assert "7880" in asked.stdout
    assert "50000" in asked.stdout
