"""A thousand inputs of the fuzzer; `make fuzz` runs fifty thousand."""

from __future__ import annotations

import json
import resource
from collections import Counter

import pytest

from cartesia_ink_plugins.core import wire
from cartesia_ink_plugins.core.net import http_errors
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.server import proxy_http
from tests.fuzz.running import InputFailedError, run_one
from tests.fuzz.source import CORPUS, Source, lines
from tests.fuzz.targets import TARGETS

SEED = 0
INPUTS = -(-1000 // len(TARGETS))
LEAST_OUTCOMES = {"request_head": 1}


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_gives_a_value_or_our_error(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = Counter(run_one(name, SEED, number) for number in range(INPUTS))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000  # KiB
    assert sum(outcomes.values()) == INPUTS
    # Inputs that all come to the same would test one path only.
    assert len(outcomes) >= LEAST_OUTCOMES.get(name, 2), outcomes


def test_the_same_seed_and_number_give_the_same_input() -> None:
    one, two = Source("a 1 2"), Source("a 1 2")
    assert [one.line("turns", "hostile") for _ in range(20)] == [
        two.line("turns", "hostile") for _ in range(20)
    ]
    assert Source("a 1 3").random() != Source("a 1 2").random()


def test_every_file_of_the_corpus_is_read() -> None:
    names = {path.stem for path in CORPUS.glob("*.txt")}
    assert all(lines(name) for name in names)
    sources = "".join(path.read_text() for path in CORPUS.parent.glob("*.py"))
    assert {name for name in names if f'"{name}"' not in sources} == set()


class TestItNotices:
    """What was wrong once, put back: some of the thousand inputs fail."""

    def fails(self, name: str, count: int = INPUTS) -> bool:
        try:
            for number in range(count):
                run_one(name, SEED, number)
        except InputFailedError as error:
            assert f"python -m tests.fuzz --target {name} --seed {SEED} --only" in str(error)
            return True
        return False

    def test_a_decoder_that_raises_on_nested_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "json_object", json.loads)
        assert self.fails("message")

    def test_halves_of_characters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "encodable", lambda value: value)
        assert self.fails("message", 4 * INPUTS)

    def test_an_absurd_date(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            http_errors, "retry_after_seconds", lambda text: float(text) if text else None
        )
        assert self.fails("retry_after")

    def test_a_bomb(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            http_errors,
            "decompress",
            lambda body, encoding, limit: decompress(body, encoding, 1 << 30),
        )
        assert self.fails("compressed")

    def test_a_proxy_that_reads_nested_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proxy_http, "message_type", lambda frame: json.loads(frame.payload))
        assert self.fails("deep_frame")

    def test_a_closed_session_that_wants_to_be_called(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_up = AudioSender.give_up_backlog

        def spinning(sender: AudioSender) -> None:
            at = sender.next_at
            give_up(sender)
            sender.next_at = at

        monkeypatch.setattr(AudioSender, "give_up_backlog", spinning)
        assert self.fails("manual")


decompress = http_errors.decompress
