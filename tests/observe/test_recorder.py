"""A recording tells what happened in a call, and sounds as it sounded."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartesia_ink_plugins import (
    BotAudio,
    Credentials,
    Disconnected,
    ErrorMessage,
    InkTurnsClient,
    MomentKind,
    Speculation,
    SpeculationOutcome,
    TurnsOptions,
    UsageError,
)
from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.observe.lines import options_fields
from cartesia_ink_plugins.observe.options import RecordOptions, record_options
from cartesia_ink_plugins.observe.reader import RecordedCall, read_recording
from cartesia_ink_plugins.observe.recorder import Recorder
from cartesia_ink_plugins.observe.writer import CallWriter
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.testing import Close, Emit, InkServer, Raw, TurnThresholds
from tests.core.world import Timed, World
from tests.needs import ROOT
from tests.observe.playing import EPOCH, begin, play

SCRIPT = Script("Hello there.", "A table ... for two.")
SECRET = "sk_car_planted0123456789"
JOIN = 20.0  # seconds that a busy machine may take to write
HOUR = 3600.0  # seconds


def record(
    path: Path, script: Script = SCRIPT, *faults: Timed, world: Any = None, **options: Any
) -> RecordedCall:
    """Play a call and read its recording."""
    recorder = Recorder(RecordOptions(path / "call.ink", **options))
    play(script, faults, taps=[recorder.tap()], **(world or {}))
    recorder.close(JOIN)
    return read_recording(path / "call.ink")


def events(call: RecordedCall) -> list[str]:
    return [str(moment.fields["event"]) for moment in call.of("event")]


def test_every_moment_is_a_line_with_its_time(tmp_path: Path) -> None:
    told: list[Any] = []

    class Told:
        def on(self, moment: Any) -> None:
            told.append(moment)

    recorder = Recorder(RecordOptions(tmp_path / "call.ink"))
    play(SCRIPT, [Timed(2.0, Reset())], taps=[recorder.tap(), Told()])
    recorder.close(JOIN)
    call = read_recording(tmp_path / "call.ink")
    written = [(m.t, m.kind, m.connection, m.turn) for m in call.moments if m.session]
    merged = (MomentKind.SENT, MomentKind.AUDIO)
    assert [line for line in written if line[1] not in ("sent", "audio")] == [
        (round(m.time, 4), m.kind.value.replace(" ", "_"), m.connection, m.turn)
        for m in told
        if m.kind not in merged
    ]
    # Every stretch that was sent is told once, in order, with where the connection was.
    sent = [(m.connection, m.fields["start"], m.fields["end"]) for m in call.of("sent")]
    truth = [m for m in told if m.kind is MomentKind.SENT]
    assert sum(end - start for _, start, end in sent) == pytest.approx(
        sum(m.payload.seconds for m in truth)
    )
    assert sent[-1][2] == pytest.approx(truth[-1].payload.end)
    [lost] = call.of("lost")
    assert lost.fields["event"] == "disconnected"
    assert {"replay_began", "replay_ended", "finished", "ended"} <= {m.kind for m in call.moments}
    assert call.meta.is_complete
    assert call.meta.epoch == EPOCH
    assert call.meta.options["model"] == "ink-2"
    assert call.meta.versions["cartesia-ink-plugins"]


def test_the_caller_sounds_as_handed_in_whatever_the_network_did(tmp_path: Path) -> None:
    call = record(tmp_path, SCRIPT, Timed(2.0, Reset()))
    audio = call.audio()
    assert audio is not None
    said = np.frombuffer(SCRIPT.audio(), np.int16)
    assert (audio.sample_rate, audio.start) == (16_000, 0.0)
    assert np.array_equal(audio.caller[: len(said)], said)
    assert not audio.bot.any()


def test_a_line_ties_what_was_heard_to_the_place_in_the_stream(tmp_path: Path) -> None:
    call = record(tmp_path)
    assert len(list(call.of("received"))) > 8
    heard = 0.0
    for moment in call.of("sent", "received"):
        if moment.kind == "received":
            assert moment.fields["heard"] == pytest.approx(heard)
        heard = moment.fields["heard"]


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://api.cartesia.ai", "api.cartesia.ai"),
        ("wss://proxy.example:8443/ink/stt/websocket", "proxy.example:8443"),
        ("proxy.example/to//ink", "proxy.example"),
    ],
)
def test_the_host_is_recorded_of_any_address_that_the_options_take(
    base_url: str, host: str
) -> None:
    assert options_fields(TurnsOptions(base_url=base_url))["host"] == host


@pytest.mark.parametrize("encoding", [Encoding.PCM_MULAW, Encoding.PCM_F32LE])
def test_other_encodings_sound_the_same(tmp_path: Path, encoding: Encoding) -> None:
    options = TurnsOptions(encoding=encoding, sample_rate=8000)
    format = AudioFormat(encoding, 8000)
    call = record(tmp_path, SCRIPT, world={"options": options})
    audio = call.audio()
    assert audio is not None
    said = format.decode(SCRIPT.audio(format))
    assert audio.sample_rate == 8000
    np.testing.assert_allclose(audio.caller[: len(said)] / 32768, said, atol=1e-4)


def test_sound_is_where_its_time_is_when_audio_pauses(tmp_path: Path) -> None:
    recorder = Recorder(RecordOptions(tmp_path / "call.ink"))
    world = begin(SCRIPT, taps=[recorder.tap()])
    session, tone = world.session, b"\x10\x27" * 320
    session.audio_received(tone, 0.02)
    session.audio_received(tone, 0.04)
    session.audio_received(tone, 3.02)
    session.audio_received(tone, 3.04)
    session.abort(3.5)
    recorder.close(JOIN)
    call = read_recording(tmp_path / "call.ink")
    audio = call.audio()
    assert audio is not None
    loud = np.flatnonzero(audio.caller) / audio.sample_rate
    assert (loud < 0.04).sum() == (loud >= 3.0).sum() == 640
    assert loud.max() < 3.04
    assert call.time_of(0.02) == pytest.approx(0.02)
    assert call.time_of(0.05) == pytest.approx(3.01)


def test_the_bot_is_the_second_channel_at_the_rate_of_the_file(tmp_path: Path) -> None:
    recorder = Recorder(RecordOptions(tmp_path / "call.ink"))
    world = begin(SCRIPT, taps=[recorder.tap()])
    session = world.session
    session.audio_received(bytes(640), 0.02)
    session.taps.on(1.0, MomentKind.BOT_STARTED, None)
    for piece in range(50):
        frame = BotAudio(b"\x10\x27" * 480, 24_000)
        session.taps.on(1.0 + 0.02 * piece, MomentKind.BOT_AUDIO, frame)
    session.taps.on(2.0, MomentKind.BOT_STOPPED, None)
    session.taps.on(3.0, MomentKind.BOT_AUDIO, BotAudio(b"\x10\x27" * 16_000, 16_000))
    session.taps.on(3.5, MomentKind.INTERRUPTION, None)
    session.abort(4.0)
    recorder.close(JOIN)
    call = read_recording(tmp_path / "call.ink")
    audio = call.audio()
    assert audio is not None
    loud = np.flatnonzero(audio.bot) / audio.sample_rate
    assert loud.min() == pytest.approx(1.0)
    first, second = loud[loud < 3.0], loud[loud >= 3.0]
    assert first.max() == pytest.approx(2.0, abs=0.001)
    assert len(first) == 16_000
    assert second.max() == pytest.approx(3.5, abs=0.001)  # the rest was never heard
    assert [m.t for m in call.of("bot_started", "bot_stopped")] == [1.0, 2.0]


def test_without_soundfile_the_sound_is_wav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "soundfile" else find(name)
    )
    with caplog.at_level("INFO", "cartesia_ink_plugins"):
        call = record(tmp_path)
    audio = call.audio()
    assert audio is not None
    said = np.frombuffer(SCRIPT.audio(), np.int16)
    assert call.meta.audio == "heard.wav"
    assert np.array_equal(audio.caller[: len(said)], said)
    assert sum("pip install soundfile" in line for line in caplog.messages) == 1


# --- privacy ------------------------------------------------------------------------------------


def files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        record(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "call.ink").stat().st_mode) == 0o600


class Repeating:
    """A peer that repeats the key it was given, wherever it can."""

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> Repeating:
        self.emit = emit
        return self

    def receive_audio(self, pcm: bytes) -> None:
        self.emit(
            [
                Raw(json.dumps({"type": "turn.new", "key": SECRET, "in": [{"url": SECRET}]})),
                Raw(f"not JSON: {SECRET}"),
                ErrorMessage(500, f"no {SECRET}", f"{SECRET}!", SECRET, f"https://x.io/{SECRET}"),
                Close(1011, f"because of {SECRET}"),
            ]
        )

    def configure(self, settings: TurnThresholds) -> None: ...

    async def close(self) -> None: ...

    def abort(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    "credentials", [Credentials(api_key=SECRET), Credentials(access_token=SECRET)]
)
async def test_no_key_and_no_token_is_recorded_wherever_a_peer_repeats_it(
    tmp_path: Path, credentials: Credentials
) -> None:
    async with InkServer(Repeating()) as server:
        options = TurnsOptions(base_url=server.url, extra_headers={"X-Proxy": SECRET})
        path = tmp_path / "call.ink"
        async with InkTurnsClient(options, credentials, record=path) as client:
            client.send_audio(bytes(3200))
            async for event in client:
                if isinstance(event, Disconnected):
                    break
    written = files(path)
    assert b"***" in written["session.jsonl"]
    for content in written.values():
        assert SECRET.encode() not in content


@pytest.mark.parametrize("text", ["hash", "none"])
def test_no_word_of_the_user_is_recorded(tmp_path: Path, text: str) -> None:
    call = record(tmp_path, text=text)
    lines = files(tmp_path / "call.ink")["session.jsonl"].decode()
    assert "ello" not in lines
    assert "table" not in lines
    assert events(call) == events(record(tmp_path / "full"))
    ends = [m.fields["transcript"] for m in call.of("event") if m.fields["event"] == "turn.end"]
    assert len(ends) == 2
    if text == "none":
        assert ends == ["", ""]


def test_hashed_text_still_grows_as_text_does(tmp_path: Path) -> None:
    call = record(tmp_path, text="hash")
    texts = [
        m.fields["transcript"] for m in call.of("event") if m.turn == 2 and "transcript" in m.fields
    ]
    assert len(set(texts)) > 3
    for shorter, longer in pairwise(texts):
        assert longer.startswith(shorter)
    again = record(tmp_path / "again", text="hash")
    assert texts[-1] not in [m.fields.get("transcript") for m in again.of("event")]


def test_redact_has_the_last_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    call = record(tmp_path, redact=lambda text: text.replace("table", "***"))
    ends = [m.fields["transcript"] for m in call.of("event") if m.fields["event"] == "turn.end"]
    assert ends == ["Hello there.", " A *** for two."]

    def fail(_: str) -> str:
        raise ValueError("broken")

    call = record(tmp_path, redact=fail)
    assert not [m for m in call.of("event") if m.fields.get("transcript")]
    assert sum("redact failed" in line for line in caplog.messages) == 1


def test_without_audio_there_is_no_sound(tmp_path: Path) -> None:
    call = record(tmp_path, audio=False)
    assert call.audio() is None
    assert set(files(tmp_path / "call.ink")) == {"meta.json", "session.jsonl"}
    assert list(call.of("sent"))


# --- what goes wrong ----------------------------------------------------------------------------


def test_what_was_written_is_readable_after_kill_9(tmp_path: Path) -> None:
    program = """
import sys, time
from cartesia_ink_plugins.observe.recorder import *
from tests.observe.playing import *
SCRIPT = Script("Hello there.", "A table ... for two.")
recorder = Recorder(RecordOptions(sys.argv[1]))
play(SCRIPT, taps=[recorder.tap()])
while not recorder.path or b"finished" not in (recorder.path / "session.jsonl").read_bytes():
    time.sleep(0.01)
print("written", flush=True)
time.sleep(600)
"""
    path = tmp_path / "call.ink"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert path.is_dir()
    call = read_recording(path)
    assert not call.meta.is_complete
    assert events(call)[-1] == "turn.end"
    audio = call.audio()
    assert audio is not None
    assert call.seconds - len(audio.caller) / audio.sample_rate < 1.0
    said = np.frombuffer(SCRIPT.audio(), np.int16)
    heard = audio.caller[: len(said)]
    assert np.array_equal(heard, said[: len(heard)])


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    call = record(tmp_path)
    folder = tmp_path / "cut.ink"
    with zipfile.ZipFile(tmp_path / "call.ink") as archive:
        archive.extractall(folder)
    lines = folder / "session.jsonl"
    lines.write_bytes(lines.read_bytes()[:-20])
    assert read_recording(folder).moments == call.moments[:-1]


def test_a_full_disk_ends_the_recording_with_one_line(tmp_path: Path) -> None:
    program = """
import logging, resource, sys, time
from cartesia_ink_plugins.observe.recorder import *
from tests.observe.playing import *
SCRIPT = Script("Hello there.", "A table ... for two.")
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
recorder = Recorder(RecordOptions(sys.argv[1]))
for _ in range(3):
    play(SCRIPT, taps=[recorder.tap()])
    time.sleep(0.3)
recorder.close(20)
print("the call goes on")
"""
    path = tmp_path / "call.ink"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if "recording" in line]
    assert len(lines) == 1
    assert lines[0].startswith("recording ended: ")
    assert result.stdout.endswith("the call goes on\n")
    assert not result.stderr
    assert list(read_recording(path).moments)


def record_interruptions(path: Path, count: int) -> None:
    """Record a call in which the caller interrupts so many times at once."""
    recorder = Recorder(RecordOptions(path))
    world = begin(SCRIPT, taps=[recorder.tap()])
    for number in range(count):
        world.session.taps.on(number / 100, MomentKind.INTERRUPTION, None)
    recorder.close(JOIN)


def test_a_slow_disk_costs_moments_that_are_counted_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartesia_ink_plugins.observe.recorder._MOST", 50)
    record_interruptions(tmp_path / "call.ink", 80)
    call = read_recording(tmp_path / "call.ink")
    [dropped] = call.of("dropped")
    kept = len(list(call.of("interruption")))
    assert kept + 1 == 50
    assert dropped.fields["count"] == 80 - kept


def test_where_time_stands_still_a_slow_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartesia_ink_plugins.observe.recorder._MOST", 50)
    monkeypatch.setattr(Recorder, "patience", JOIN)
    record_interruptions(tmp_path / "call.ink", 500)
    call = read_recording(tmp_path / "call.ink")
    assert len(list(call.of("interruption"))) == 500
    assert not list(call.of("dropped"))


def test_a_full_disk_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartesia_ink_plugins.observe.recorder._MOST", 50)
    monkeypatch.setattr(Recorder, "patience", HOUR)

    def full(*_: object) -> None:
        time.sleep(0.1)  # seconds; meanwhile the queue is full again
        raise OSError("the disk is full")

    monkeypatch.setattr(CallWriter, "write", full)
    record_interruptions(tmp_path / "call.ink", 200)


def test_a_recording_ends_at_its_largest_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(RecordOptions(tmp_path / "call.ink", max_megabytes=0.001))
    play(SCRIPT, taps=[recorder.tap()])
    deadline = time.monotonic() + JOIN
    while not (tmp_path / "call.ink").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    recorder.add(1, world_moment())
    recorder.close(JOIN)
    [ended] = read_recording(tmp_path / "call.ink").of("ended")
    assert ended.fields["reason"] == "largest size"
    assert sum("max_megabytes" in line for line in caplog.messages) == 1


def world_moment() -> Any:
    from cartesia_ink_plugins.core.tap import Moment

    return Moment(9.0, MomentKind.INTERRUPTION, 1, 1)


def test_old_recordings_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    old, other, recent = tmp_path / "old.ink", tmp_path / "notes.txt", tmp_path / "recent.ink"
    record(tmp_path)
    (tmp_path / "call.ink").rename(old)
    record(tmp_path)
    (tmp_path / "call.ink").rename(recent)
    other.write_text("mine")
    for path in (old, other):
        os.utime(path, (1e9, 1e9))
    recorder = Recorder(RecordOptions(tmp_path, keep_days=30))
    play(SCRIPT, taps=[recorder.tap()])
    recorder.close(JOIN)
    assert not old.exists()
    assert other.exists()
    assert recent.exists()


def test_a_folder_that_is_no_recording_is_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    precious = tmp_path / "call.ink" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    recorder = Recorder(RecordOptions(tmp_path / "call.ink"))
    play(SCRIPT, taps=[recorder.tap()])
    recorder.close(JOIN)
    assert precious.read_text() == "mine"
    assert "is a folder, and no recording" in caplog.text


# --- only when something goes wrong -------------------------------------------------------------

Trouble = Callable[[World], None]


def interrupts_twice(world: World) -> None:
    world.session.taps.on(5.0, MomentKind.INTERRUPTION, None)
    world.session.taps.on(6.0, MomentKind.INTERRUPTION, None)


def withdraws(world: World) -> None:
    speculation = Speculation(SpeculationOutcome.WITHDRAWN, 0.4)
    world.session.taps.on(5.0, MomentKind.SPECULATION_ENDED, speculation)


def loses(world: World) -> None:
    world.session.connection_opened(4.9, "req")
    world.session.audio_received(bytes(640), 5.0)
    world.session.connection_lost("reset", 5.0)


def keeps(world: World) -> None:
    speculation = Speculation(SpeculationOutcome.KEPT, 0.4)
    world.session.taps.on(5.0, MomentKind.SPECULATION_ENDED, speculation)
    world.session.taps.on(6.0, MomentKind.INTERRUPTION, None)


@pytest.mark.parametrize("trouble", [interrupts_twice, withdraws, loses])
def test_the_last_seconds_are_written_when_something_goes_wrong(
    tmp_path: Path, trouble: Trouble
) -> None:
    recorder = Recorder(RecordOptions(tmp_path / "call.ink", last_seconds=2.0))
    world = begin(SCRIPT, taps=[recorder.tap()])
    world.session.start(0.0)
    world.session.taps.on(1.0, MomentKind.BOT_STARTED, None)
    for number in range(200):
        world.session.taps.on(number * 0.02, MomentKind.BOT_AUDIO, BotAudio(bytes(640), 16_000))
    world.session.taps.on(4.0, MomentKind.BOT_STARTED, None)
    trouble(world)
    world.session.taps.on(7.0, MomentKind.BOT_STOPPED, None)
    world.session.abort(8.0)
    recorder.close(JOIN)
    call = read_recording(tmp_path / "call.ink")
    assert [m.t for m in call.of("started", "bot_started", "bot_stopped")] == [0.0, 4.0, 7.0]
    assert call.moments[-1].kind == "ended"


def test_nothing_is_written_while_nothing_goes_wrong(tmp_path: Path) -> None:
    recorder = Recorder(RecordOptions(tmp_path / "calls", last_seconds=2.0))
    world = begin(SCRIPT, taps=[recorder.tap()])
    keeps(world)
    world.session.abort(8.0)
    recorder.close(JOIN)
    assert not (tmp_path / "calls").exists()


# --- where it is asked for ----------------------------------------------------------------------


def test_what_is_wrong_is_told_where_it_is_given() -> None:
    for wrong in ({"text": "some"}, {"max_megabytes": 0}, {"last_seconds": -1}, {"path": ""}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            RecordOptions(**{"path": "calls", **wrong})  # type: ignore[arg-type]


def test_the_environment_asks_for_it_where_the_application_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert record_options(None) is None
    monkeypatch.setenv("INK_RECORD", "calls")
    monkeypatch.setenv("INK_RECORD_TEXT", "hash")
    monkeypatch.setenv("INK_RECORD_AUDIO", "0")
    monkeypatch.setenv("INK_RECORD_LAST", "120")
    assert record_options(None) == RecordOptions(
        "calls", text="hash", audio=False, last_seconds=120.0
    )
    assert record_options("mine") == RecordOptions("mine")
    monkeypatch.setenv("INK_RECORD_LAST", "long")
    with pytest.raises(UsageError, match="INK_RECORD_LAST"):
        record_options(None)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("INK_RECORD", str(tmp_path / "calls"))
    yield tmp_path / "calls"


async def test_with_ink_record_a_client_records_without_a_line_of_code(calls: Path) -> None:
    await talk()
    [path] = calls.iterdir()  # noqa: ASYNC240
    call = read_recording(path)
    assert path.is_file()
    assert call.meta.is_complete
    assert [m.fields["options"]["sample_rate"] for m in call.of("started")] == [8000, 16_000]
    audio = call.audio()
    assert audio is not None
    assert audio.sample_rate == 16_000
    assert np.array_equal(audio.caller[:16_000], np.frombuffer(SCRIPT.audio(), np.int16)[:16_000])


async def talk() -> None:
    async with InkServer(SCRIPT) as server:
        options = TurnsOptions(base_url=server.url, sample_rate=8000)
        async with InkTurnsClient(options, Credentials(api_key="any")) as client:
            client.set_sample_rate(16_000)  # begins another session of the same call
            client.send_audio(SCRIPT.audio()[:32_000])
            await client.finish()


def test_no_recording_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.ink").write_bytes(b"not a zip")
    for path in (tmp_path / "a.ink", tmp_path / "absent.ink", tmp_path):
        with pytest.raises(UsageError, match="is no recording"):
            read_recording(path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    record(tmp_path)
    folder = tmp_path / "new.ink"
    with zipfile.ZipFile(tmp_path / "call.ink") as archive:
        archive.extractall(folder)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"format": 2}))
    with pytest.raises(UsageError, match="format 2; upgrade"):
        read_recording(folder)
