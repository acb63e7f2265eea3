"""An agent in LiveKit: which `turn_detection` is in force, VAD, and sample rates."""

from __future__ import annotations

from collections.abc import Iterator

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.cli.checks.source import Call, Source, Unknown, Value, written

_OURS = "cartesia_ink_plugins.livekit"
_SESSIONS = ("AgentSession", "LiveSession")
_ADVICE = 'turn_handling={"turn_detection": "stt"}'
_ABSENT = object()


def check_livekit(source: Source) -> Iterator[Finding]:
    """Look at a file that imports LiveKit."""
    for call in source.named("STT", "livekit.plugins.cartesia"):
        yield Finding(
            "stt",
            Status.NOTE,
            f"line {call.line} makes LiveKit's own cartesia.STT",
            "from cartesia_ink_plugins import livekit as ink: the keywords of ink.STT are the same",
        )
    recognizers = source.named("STT", _OURS)
    for call in recognizers:
        yield Finding("stt", Status.OK, f"line {call.line} makes an ink.STT")
        yield from _resampling(source, call)
    for call in source.named("StreamAdapter", "livekit."):
        if any(isinstance(one, Call) and one in recognizers for one in _arguments(source, call)):
            yield Finding(
                "vad",
                Status.WARNING,
                f"StreamAdapter in line {call.line} cuts speech with a VAD and sends each piece as "
                "a file, although ink.STT streams",
                "give ink.STT to the session itself",
            )
    sessions = [call for name in _SESSIONS for call in source.named(name, "livekit.")]
    if recognizers and not sessions:
        yield Finding("turns", Status.UNCHECKED, "no AgentSession is made in this file")
    is_manual = any(_is_manual(source, call) for call in recognizers)
    for session in sessions if recognizers else ():
        yield from _turn_detection(source, session, is_manual=is_manual)
        yield from _vad(source, session, is_manual=is_manual)


def _arguments(source: Source, call: Call) -> list[Value]:
    return [source.value(node) for node in call.keywords.values()]


def _is_manual(source: Source, call: Call) -> bool:
    endpoint = source.keyword(call, "endpoint")
    return endpoint == "manual" or (
        endpoint is None and source.keyword(call, "model") == "ink-whisper"
    )


def _resampling(source: Source, call: Call) -> Iterator[Finding]:
    rate = source.keyword(call, "sample_rate")
    rooms = [
        room
        for name in ("RoomInputOptions", "AudioInputOptions")
        for one in source.named(name, "livekit.")
        for keyword in ("audio_sample_rate", "sample_rate")
        if isinstance(room := source.keyword(one, keyword), int)
    ]
    room = rooms[0] if rooms else 24_000  # Hz; LiveKit's default
    if rate is None:
        yield Finding("sample rate", Status.OK, f"{room} Hz, sent as it is")
    elif isinstance(rate, Unknown):
        yield Finding("sample rate", Status.UNCHECKED, f"sample_rate={written(rate)}")
    elif rate != room:
        yield Finding(
            "sample rate",
            Status.WARNING,
            f"the room's audio is resampled from {room} to {rate} Hz (line {call.line})",
            "leave sample_rate out: Ink takes the rate of the room",
        )
    else:
        yield Finding("sample rate", Status.OK, f"{rate} Hz, sent as it is")


def _given(source: Source, session: Call) -> Value:
    """The `turn_detection` of a session; `_ABSENT` if there is none."""
    if "turn_detection" in session.keywords:
        return source.keyword(session, "turn_detection")
    handling = source.keyword(session, "turn_handling")
    match handling:
        case None:
            return _ABSENT
        case dict():
            return handling.get("turn_detection", _ABSENT)
        case Call(short="TurnHandlingOptions", keywords=keywords):
            return (
                source.value(keywords["turn_detection"])
                if "turn_detection" in keywords
                else (_ABSENT)
            )
        case _:
            return Unknown(written(handling))


def _turn_detection(source: Source, session: Call, *, is_manual: bool) -> Iterator[Finding]:
    for agent in source.calls:
        is_agent = agent.short in ("Agent", "super().__init__", "__init__")
        if is_agent and "turn_detection" in agent.keywords:
            value = written(source.keyword(agent, "turn_detection"))
            yield Finding(
                "turns",
                Status.NOTE,
                f"turn_detection={value} of the agent in line {agent.line} is stronger than that "
                "of the session",
            )
    value, where = _given(source, session), f"the session in line {session.line}"
    if isinstance(value, Unknown):
        yield Finding("turns", Status.UNCHECKED, f"turn_detection is {value.text} in {where}")
    elif is_manual:
        yield _manual_turns(value, where)
    elif value == "stt":
        yield Finding("turns", Status.OK, f'turn_detection is "stt" in {where}: Ink ends the turns')
    elif value is _ABSENT:
        yield Finding(
            "turns",
            Status.PROBLEM,
            f"{where} has no turn_detection: LiveKit's own detector ends the turns, and Ink's "
            "turn.end does not",
            _ADVICE,
        )
    else:
        yield Finding(
            "turns",
            Status.WARNING,
            f"turn_detection is {written(value)} in {where}: Ink's turn.end does not end the turns",
            f'{_ADVICE}, or ink.STT(endpoint="manual")',
        )


def _manual_turns(value: Value, where: str) -> Finding:
    if value == "stt":
        return Finding(
            "turns",
            Status.PROBLEM,
            f'turn_detection is "stt" in {where}, and the manual endpoint ends no turn',
            'leave endpoint out, or choose another turn_detection, such as "manual" or "vad"',
        )
    told = "LiveKit's own detector" if value is _ABSENT else written(value)
    return Finding("turns", Status.OK, f"turn_detection is {told} in {where}")


def _vad(source: Source, session: Call, *, is_manual: bool) -> Iterator[Finding]:
    is_given = "vad" in session.keywords
    value = source.keyword(session, "vad")
    if is_given and value is None:
        if is_manual and _given(source, session) in ("vad", _ABSENT):
            yield Finding(
                "vad",
                Status.PROBLEM,
                "vad=None, and nothing else knows when speech is over",
                "leave vad out, or commit each turn yourself: "
                'turn_handling={"turn_detection": "manual"}',
            )
        else:
            yield Finding("vad", Status.OK, "none")
        return
    if is_manual:
        yield Finding("vad", Status.OK, "LiveKit's: it tells when speech is over")
        return
    which = written(value) if is_given else "LiveKit's default"
    yield Finding(
        "vad",
        Status.NOTE,
        f"{which} runs beside Ink, and decides when the bot is interrupted",
        "vad=None lets Ink's first words interrupt, and saves its CPU time",
    )
