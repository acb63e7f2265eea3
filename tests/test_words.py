"""Identifiers are the field's own terms: words of a former private vocabulary do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

import cartesia_ink_plugins

PACKAGE = Path(cartesia_ink_plugins.__file__).parent
ROOMS = ("core", "pipecat", "livekit", "server", "demo", "cli")

FORMER = frozenset(
    "hear heard said owed carried hush forgo lend life words beat mark floor barrier".split()
)
"""Also as a part: `cut_off_words` is `words`, `HeardText` is `heard`. `word` is another word."""

STANDARD = {"core/stream/vad.py": {"floor"}}
"""What is the field's own in one file: the noise floor of a voice activity detector."""

NOT_YET = "server/speech/"
"""Not in standard terms yet."""

API_FIELD = "words"
"""A field of the API's transcripts, and so an attribute of the events that are made of them."""

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def parts(identifier: str) -> set[str]:
    """The words in an identifier, in snake case or camel case."""
    return {part.lower() for part in _PART.findall(identifier)}


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every identifier that a module defines or uses, with its line; not the API's own field."""
    fields: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(body=body):
                fields |= {item.target for item in body if isinstance(item, ast.AnnAssign)}
            case _:
                pass
        for name, is_field in named(node, fields):
            if not (is_field and name == API_FIELD):
                yield getattr(node, "lineno", 0), name


def named(node: ast.AST, fields: set[ast.AST]) -> Iterator[tuple[str, bool]]:
    """The identifier that a node has itself, and whether it is that of an attribute."""
    match node:
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            yield name, True
        case ast.Name(id=name):
            yield name, node in fields
        case (
            ast.arg(arg=name)
            | ast.alias(name=_, asname=str(name))
            | ast.alias(name=name)
            | ast.ClassDef(name=name)
            | ast.FunctionDef(name=name)
            | ast.AsyncFunctionDef(name=name)
            | ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            yield name, False


def former(source: str, allowed: Set[str] = frozenset()) -> list[str]:
    """The identifiers of the former vocabulary in a module, each with its line."""
    found = set(identifiers(ast.parse(source)))
    return [f"{line}: {name}" for line, name in sorted(found) if parts(name) & (FORMER - allowed)]


@pytest.mark.parametrize("room", ROOMS)
def test_no_identifier_is_of_the_former_vocabulary(room: str) -> None:
    found = {}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(NOT_YET):
            continue
        if lines := former(path.read_text(encoding="utf-8"), STANDARD.get(name, set())):
            found[name] = lines
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "heard = 1",
        "def position_heard(): ...",
        "async def hush(): ...",
        "class AudioLife: ...",
        "class LifeOfAudio: ...",
        "_MAX_WORDS = 3",
        "words = text.split()",
        "def skip(words): ...",
        "lambda words: 1",
        "x.heard_by_server",
        "f(mark=1)",
        "import barrier",
        "from a import b as floor",
        "try: ...\nexcept E as beat: ...",
        "match x:\n case A(b=said): ...",
        "match x:\n case [*owed]: ...",
        "match x:\n case {**carried}: ...",
        "for lend in x: ...",
    ],
)
def test_the_former_vocabulary_is_found_wherever_a_name_can_stand(source: str) -> None:
    assert former(source)


@pytest.mark.parametrize(
    "source",
    [
        "word = event.words[0]",
        "class Final:\n words: tuple[str, ...] = ()",
        "Final(words=())",
        "lifecycle = hearing = lender = benchmark = marks = floors = heartbeat = 1",
        "'heard'",
        "# heard",
    ],
)
def test_other_words_are_free(source: str) -> None:
    assert not former(source)
