"""What is in force in a bot's file, and what works twice; the file is read and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartesia_ink_plugins.cli.checks.bots import check_bot, extras_of
from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from tests.needs import ROOT

PIPECAT = """
raise SystemExit("a bot must not be run to be read")
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies, UserTurnStrategies
from cartesia_ink_plugins.pipecat import InkManualSTTService, InkTurnsSTTService
"""

LIVEKIT = """
raise SystemExit("a bot must not be run to be read")
from livekit.agents import Agent, AgentSession, TurnHandlingOptions, stt, room_io
from livekit.plugins import silero
from cartesia_ink_plugins import livekit as ink
"""


def findings(tmp_path: Path, text: str) -> list[Finding]:
    file = tmp_path / "bot.py"
    file.write_text(text)
    found = list(check_bot(file))
    assert all(one.message.startswith("bot.py: ") for one in found)
    return found


def only(found: list[Finding], check: str) -> Finding:
    [one] = [finding for finding in found if finding.check == check]
    return one


# --- Pipecat --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategies", "status", "told"),
    [
        ("", Status.OK, "InkTurnsSTTService recommends: Ink ends the turns"),
        (
            "user_turn_strategies=stt.recommended_user_turn_strategies()",
            Status.OK,
            "InkTurnsSTTService recommends: Ink ends the turns",
        ),
        (
            "user_turn_strategies=ExternalUserTurnStrategies()",
            Status.NOTE,
            "ExternalUserTurnStrategies() in line 12: Ink ends the turns",
        ),
        (
            "user_turn_strategies=UserTurnStrategies(stop=[Mine()])",
            Status.WARNING,
            "UserTurnStrategies(stop=[Mine()]) in line 12: these end the turns",
        ),
        ("user_turn_strategies=given", Status.UNCHECKED, "user_turn_strategies=given"),
        (
            "user_turn_strategies=mine()",
            Status.WARNING,
            "UserTurnStrategies(start=[Mine()]) in line 12",
        ),
    ],
)
def test_the_turn_strategies_in_force(
    tmp_path: Path, strategies: str, status: Status, told: str
) -> None:
    text = f"""stt = InkTurnsSTTService()
pair = LLMContextAggregatorPair(context, user_params=LLMUserAggregatorParams({strategies}))
def mine():
    return UserTurnStrategies(start=[Mine()])
"""
    finding = only(findings(tmp_path, PIPECAT + text), "strategies")
    assert finding.status is status
    assert told in finding.message


def test_a_vad_beside_ink_works_twice(tmp_path: Path) -> None:
    text = """stt = InkTurnsSTTService()
params = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
pair = LLMContextAggregatorPair(context, user_params=params)
"""
    finding = only(findings(tmp_path, PIPECAT + text), "vad")
    assert finding.status is Status.WARNING
    assert "vad_analyzer=SileroVADAnalyzer()) in line 12 runs beside Ink" in finding.message
    assert finding.advice == "leave it out"


@pytest.mark.parametrize(
    ("vad", "status"),
    [
        ("", Status.PROBLEM),
        ("vad_analyzer=SileroVADAnalyzer()", Status.OK),
        ("vad_analyzer=None", Status.PROBLEM),
    ],
)
def test_the_manual_service_needs_a_vad(tmp_path: Path, vad: str, status: Status) -> None:
    text = f"""stt = InkManualSTTService()
pair = LLMContextAggregatorPair(context, user_params=LLMUserAggregatorParams({vad}))
"""
    assert only(findings(tmp_path, PIPECAT + text), "vad").status is status


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ("", Status.OK, "16000 Hz"),
        ("PipelineParams(audio_in_sample_rate=24_000)", Status.OK, "24000 Hz"),
        ("TwilioFrameSerializer('x')", Status.WARNING, "resamples it to 16000 Hz"),
        (
            "RATE = 8000\nTwilioFrameSerializer('x')\nPipelineParams(audio_in_sample_rate=RATE)",
            Status.OK,
            "8000 Hz",
        ),
        ("PipelineParams(audio_in_sample_rate=rate())", Status.UNCHECKED, "no constant"),
        ("InkTurnsSTTService(encoding='pcm_mulaw')", Status.WARNING, "the pipeline has 16000 Hz"),
    ],
)
def test_sample_rates(tmp_path: Path, more: str, status: Status, told: str) -> None:
    found = findings(tmp_path, f"{PIPECAT}stt = InkTurnsSTTService()\n{more}\n")
    finding = only(found, "sample rate")
    assert finding.status is status
    assert told in finding.message


def test_the_built_in_service_is_named(tmp_path: Path) -> None:
    text = """from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
stt = CartesiaTurnsSTTService(api_key="any")
"""
    finding = only(findings(tmp_path, text), "stt")
    assert finding.status is Status.NOTE
    assert "import InkTurnsSTTService" in finding.advice


# --- LiveKit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stt", "session", "status", "told"),
    [
        ("", 'turn_handling={"turn_detection": "stt"}', Status.OK, "Ink ends the turns"),
        (
            "",
            'turn_handling=TurnHandlingOptions(turn_detection="stt")',
            Status.OK,
            "Ink ends the turns",
        ),
        ("", 'turn_detection="stt"', Status.OK, "Ink ends the turns"),
        ("", "", Status.PROBLEM, "has no turn_detection: LiveKit's own detector ends the turns"),
        ("", "turn_handling={}", Status.PROBLEM, "has no turn_detection"),
        (
            "",
            'turn_handling={"turn_detection": "vad"}',
            Status.WARNING,
            "Ink's turn.end does not end the turns",
        ),
        ("", "turn_handling=given", Status.UNCHECKED, "turn_detection is given"),
        (
            'endpoint="manual"',
            'turn_handling={"turn_detection": "stt"}',
            Status.PROBLEM,
            "the manual endpoint ends no turn",
        ),
        (
            'endpoint="manual"',
            'turn_handling={"turn_detection": "manual"}',
            Status.OK,
            "'manual'",
        ),
        ('model="ink-whisper"', "", Status.OK, "LiveKit's own detector"),
    ],
)
def test_the_turn_detection_in_force(
    tmp_path: Path, stt: str, session: str, status: Status, told: str
) -> None:
    text = f"session = AgentSession[None](stt=ink.STT({stt}), {session})\n"
    finding = only(findings(tmp_path, LIVEKIT + text), "turns")
    assert finding.status is status
    assert told in finding.message


@pytest.mark.parametrize(
    ("stt", "session", "status"),
    [
        ("", "vad=None", Status.OK),
        ("", "", Status.NOTE),
        ("", "vad=silero.VAD.load()", Status.NOTE),
        ('endpoint="manual"', "", Status.OK),
        ('endpoint="manual"', "vad=None", Status.PROBLEM),
        (
            'endpoint="manual"',
            'vad=None, turn_handling={"turn_detection": "manual"}',
            Status.OK,
        ),
    ],
)
def test_a_vad_beside_ink(tmp_path: Path, stt: str, session: str, status: Status) -> None:
    text = f"session = AgentSession(stt=ink.STT({stt}), {session})\n"
    assert only(findings(tmp_path, LIVEKIT + text), "vad").status is status


@pytest.mark.parametrize(
    ("rate", "room", "status"),
    [
        ("", "", Status.OK),
        ("sample_rate=16_000", "", Status.WARNING),
        ("sample_rate=16_000", "room_io.AudioInputOptions(sample_rate=16_000)", Status.OK),
        ("sample_rate=rate", "", Status.UNCHECKED),
    ],
)
def test_a_resampler_that_is_not_needed(
    tmp_path: Path, rate: str, room: str, status: Status
) -> None:
    text = f"session = AgentSession(stt=ink.STT({rate}))\n{room}\n"
    assert only(findings(tmp_path, LIVEKIT + text), "sample rate").status is status


def test_a_stream_adapter_works_twice(tmp_path: Path) -> None:
    text = "session = AgentSession(stt=stt.StreamAdapter(stt=ink.STT(), vad=silero.VAD.load()))\n"
    found = findings(tmp_path, LIVEKIT + text)
    assert "StreamAdapter in line 6" in next(one.message for one in found if one.check == "vad")


def test_an_agent_may_overrule_the_session(tmp_path: Path) -> None:
    text = """class Mine(Agent):
    def __init__(self):
        super().__init__(instructions="", turn_detection="vad")
session = AgentSession(stt=ink.STT(), turn_handling={"turn_detection": "stt"})
"""
    found = [one for one in findings(tmp_path, LIVEKIT + text) if one.check == "turns"]
    assert "turn_detection='vad' of the agent in line 8" in found[0].message


# --- any file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "example", ["pipecat_bot", "twilio_bot", "push_to_talk_pipecat", "livekit_agent",
                "push_to_talk_livekit"]
)  # fmt: skip
def test_nothing_is_wrong_with_our_examples(example: str) -> None:
    found = list(check_bot(ROOT / "examples" / f"{example}.py"))
    assert len(found) >= 3
    assert {one.status for one in found} == {Status.OK}


@pytest.mark.parametrize("text", ["print(", "\0", "import asyncio\n"])
def test_what_is_no_bot_is_said(tmp_path: Path, text: str) -> None:
    [finding] = findings(tmp_path, text) if "import" in text else check_bot_of(tmp_path, text)
    assert finding.status is (Status.UNCHECKED if "import" in text else Status.PROBLEM)


def check_bot_of(tmp_path: Path, text: str) -> list[Finding]:
    file = tmp_path / "bot.py"
    file.write_text(text)
    return list(check_bot(file))


def test_the_extras_that_bots_need_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PIPECAT)
    (tmp_path / "b.py").write_text(LIVEKIT)
    (tmp_path / "c.py").write_text("print(")
    paths = [tmp_path / name for name in ("a.py", "b.py", "c.py", "d.py")]
    assert extras_of(paths) == ["livekit", "pipecat"]
