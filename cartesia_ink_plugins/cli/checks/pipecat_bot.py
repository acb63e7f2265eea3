"""A bot in Pipecat: which turn strategies are in force, VAD, and sample rates."""

from __future__ import annotations

from collections.abc import Iterator

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.cli.checks.source import Call, Source, Unknown, Value, written

_OURS = "cartesia_ink_plugins.pipecat"
_BUILT_IN = {
    "CartesiaTurnsSTTService": "InkTurnsSTTService",
    "CartesiaSTTService": "InkManualSTTService",
}
_EXTERNAL = ("ExternalUserTurnStrategies", "EagerUserTurnStrategies")
_AGGREGATORS = ("LLMContextAggregatorPair", "LLMUserAggregator")
_PIPELINE_RATE = 16_000  # Hz; the default of PipelineParams
_TELEPHONE_RATE = 8_000  # Hz
_TELEPHONES = ("Exotel", "Plivo", "Telnyx", "Twilio", "Vonage")  # whose serializers have 8 kHz
_VAD_FRAME = "VADUserStartedSpeakingFrame"


def check_pipecat(source: Source) -> Iterator[Finding]:
    """Look at a file that imports Pipecat."""
    for builtin, ours in _BUILT_IN.items():
        for call in source.named(builtin, "pipecat."):
            yield Finding(
                "stt",
                Status.NOTE,
                f"line {call.line} makes Pipecat's own {builtin}",
                f"from {_OURS} import {ours}: the keywords are the same",
            )
    turns = source.named("InkTurnsSTTService", _OURS)
    utterances = source.named("InkManualSTTService", _OURS)
    utterances += source.named("InkBatchSTTService", _OURS)
    for call in (*turns, *utterances):
        yield Finding("stt", Status.OK, f"line {call.line} makes an {call.short}")
    if turns:
        yield from _turns_by_ink(source)
    if utterances:
        yield from _turns_by_pipecat(source, utterances[0].short)
    if turns or utterances:
        yield from _sample_rates(source, [*turns, *utterances])


def _user_params(source: Source) -> list[Call]:
    return source.named("LLMUserAggregatorParams", "pipecat.")


def _analyzers(source: Source) -> list[str]:
    """Where a VAD is given to something."""
    found = []
    for call in source.calls:
        value = source.keyword(call, "vad_analyzer")
        if value is not None and call.name.startswith("pipecat."):
            found.append(f"{call.short}(vad_analyzer={written(value)}) in line {call.line}")
    return found


def _strategies(source: Source) -> list[tuple[int, Value]]:
    """The strategies that the application gave, each with its line."""
    given = [(call.line, source.keyword(call, "user_turn_strategies")) for call in source.calls]
    return [(line, value) for line, value in given if value is not None]


def _turns_by_ink(source: Source) -> Iterator[Finding]:
    strategies = _strategies(source)
    if not any(source.named(name, "pipecat.") for name in _AGGREGATORS):
        yield Finding("strategies", Status.UNCHECKED, "no user aggregator is made in this file")
    elif not strategies:
        yield Finding(
            "strategies", Status.OK, "those that InkTurnsSTTService recommends: Ink ends the turns"
        )
    for line, value in strategies:
        yield _own_strategies(line, value)
    for where in _analyzers(source):
        yield Finding(
            "vad",
            Status.WARNING,
            f"{where} runs beside Ink, which detects speech itself; when it hears the end of "
            "speech, Pipecat ends a turn after user_turn_stop_timeout, even if Ink would wait",
            "leave it out",
        )


def _own_strategies(line: int, value: Value) -> Finding:
    match value:
        case Call(name=name) if name.endswith(".recommended_user_turn_strategies"):
            told = "those that InkTurnsSTTService recommends: Ink ends the turns"
            return Finding("strategies", Status.OK, told)
        case Call(short=short) if short in _EXTERNAL:
            return Finding(
                "strategies",
                Status.NOTE,
                f"{short}() in line {line}: Ink ends the turns; bursts of turn events, noise and "
                "mutes are handled as Pipecat does",
                "leave user_turn_strategies out, unless you need them",
            )
        case Unknown(text=text):
            return Finding(
                "strategies", Status.UNCHECKED, f"user_turn_strategies={text} in line {line}"
            )
        case _:
            return Finding(
                "strategies",
                Status.WARNING,
                f"user_turn_strategies={written(value)} in line {line}: these end the turns, and "
                "Ink's turn.end does not",
                "leave user_turn_strategies out, or use InkManualSTTService",
            )


def _turns_by_pipecat(source: Source, service: str) -> Iterator[Finding]:
    strategies = _strategies(source)
    for line, value in strategies:
        yield Finding(
            "strategies", Status.OK, f"user_turn_strategies={written(value)} in line {line}"
        )
    if not strategies:
        yield Finding(
            "strategies", Status.OK, "Pipecat's default: a VAD starts turns, smart turn ends them"
        )
    sends_frames = any(call.short == _VAD_FRAME for call in source.calls)
    if _analyzers(source) or source.named("VADProcessor", "pipecat.") or sends_frames:
        yield Finding("vad", Status.OK, "Pipecat's: it tells when an utterance is over")
    else:
        yield Finding(
            "vad",
            Status.PROBLEM,
            f"none is made in this file, and {service} needs one to know when speech is over",
            "LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())",
        )


def _sample_rates(source: Source, services: list[Call]) -> Iterator[Finding]:
    rates = [
        rate
        for call in source.calls
        if call.name.startswith("pipecat.")
        and (rate := source.keyword(call, "audio_in_sample_rate")) is not None
    ]
    known = [rate for rate in rates if isinstance(rate, int)]
    if len(known) != len(rates):
        yield Finding("sample rate", Status.UNCHECKED, "audio_in_sample_rate is no constant")
        return
    rate = min(known, default=_PIPELINE_RATE)
    telephone = [call.short for call in source.calls if _is_telephone(call)]
    companded = [
        encoding
        for call in services
        if (encoding := source.keyword(call, "encoding")) in ("pcm_mulaw", "pcm_alaw")
    ]
    if telephone and rate != _TELEPHONE_RATE:
        yield Finding(
            "sample rate",
            Status.WARNING,
            f"{telephone[0]} has {_TELEPHONE_RATE} Hz, and the pipeline resamples it to {rate} Hz",
            f"PipelineParams(audio_in_sample_rate={_TELEPHONE_RATE}): Ink takes it as it is",
        )
    elif companded and rate != _TELEPHONE_RATE:
        yield Finding(
            "sample rate",
            Status.WARNING,
            f"{companded[0]} is meant for {_TELEPHONE_RATE} Hz, and the pipeline has {rate} Hz",
            "leave encoding out, or set audio_in_sample_rate to that of the telephone",
        )
    else:
        yield Finding("sample rate", Status.OK, f"{rate} Hz, sent as it is")


def _is_telephone(call: Call) -> bool:
    is_serializer = call.short.endswith("FrameSerializer") and call.name.startswith("pipecat.")
    return is_serializer and call.short.startswith(_TELEPHONES)
