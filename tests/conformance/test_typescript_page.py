"""The snippets of `docs/typescript.md` run as they are."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from cartesia_ink_plugins.testing import InkServer, Script
from tests.conformance.programs import ON_NODE, PATIENCE
from tests.needs import NODE_FOLDER, ROOT

PAGE = (ROOT / "docs" / "typescript.md").read_text("utf-8")
[CALL] = re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
SNIPPETS = re.findall(r"^```js\n(.*?)^```$", PAGE, re.M | re.S)

pytestmark = ON_NODE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the packages and the call's files."""
    (tmp_path / "node_modules").symlink_to(NODE_FOLDER / "node_modules")
    (tmp_path / "call.txt").write_text(CALL)
    return tmp_path


async def run(folder: Path, *command: str, base_url: str = "") -> str:
    """Run a program in the folder to its end and return what it printed."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CARTESIA_BASE_URL": base_url,
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def write_audio(folder: Path) -> None:
    await run(
        folder, "cartesia-ink", "serve", "--engine", "script", "call.txt", "--audio", "call.wav"
    )


@pytest.mark.parametrize(
    ("snippet", "kind"), [(SNIPPETS[0], "cjs"), (SNIPPETS[1], "mjs")], ids=["sdk", "livekit"]
)
async def test_a_client_prints_every_turn(folder: Path, snippet: str, kind: str) -> None:
    await write_audio(folder)
    program = folder / f"bot.{kind}"
    program.write_text(snippet)
    script = Script.from_file(folder / "call.txt")
    async with InkServer(script) as server:
        printed = await run(folder, "node", str(program), base_url=server.url)
    assert printed.splitlines() == script.transcripts


async def test_the_test_passes(folder: Path) -> None:
    await write_audio(folder)
    program = folder / "bot.test.mjs"
    program.write_text(SNIPPETS[2])
    printed = await run(folder, "node", "--test", str(program))
    assert re.search(r"^# pass 2$", printed, re.M), printed
    assert re.search(r"^# fail 0$", printed, re.M), printed
