"""What a connection is opened with.

Only what the user set is sent, because the server's defaults have moved before and may move again;
ranges are left to the server for the same reason.

Turns: https://docs.cartesia.ai/api-reference/stt/turns/websocket
Manual: https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlencode

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.models import INK_2, INK_WHISPER, model_named
from cartesia_ink_plugins.core.validation import (
    insecure_allowed,
    language_code,
    require_encryption,
    validate_name,
    validate_number,
    validate_positive,
    validate_sample_rate,
    validate_version,
    validated_headers,
    validated_keyterms,
    websocket_url,
)

DEFAULT_BASE_URL = "https://api.cartesia.ai"
API_VERSION = "2026-03-01"
TURNS_PATH = "/stt/turns/websocket"
MANUAL_PATH = "/stt/websocket"
# The largest `turn_end_timeout_ms` that the API takes, in milliseconds.
_MAX_END_TIMEOUT_MS = 11_200


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """The thresholds of turn detection; None leaves one to the server.

    One likelihood, 0 to 1, says whether the user is in a turn. A turn starts when it rises above
    *start*, may end when it falls below *eager end*, ends when it falls below *end*. A higher eager
    threshold fires earlier. See https://docs.cartesia.ai/use-the-api/stt/turns/turns.

    Attributes:
        turn_start_threshold: 0.5 to 0.9 at the time of writing.
        turn_eager_end_threshold: 0.3 to 0.8 at the time of writing.
        turn_end_threshold: 0.05 to 0.5 at the time of writing.
        turn_end_timeout_ms: Ends a turn whatever the likelihood; milliseconds, 640 to 11200.
    """

    turn_start_threshold: float | None = None
    turn_eager_end_threshold: float | None = None
    turn_end_threshold: float | None = None
    turn_end_timeout_ms: int | None = None

    def __post_init__(self) -> None:
        """Check the order: start > eager end > end, among those that are set."""
        for name, value in self._set_fields():
            if not isinstance(value, int | float):
                raise UsageError(f"{name}: {value!r} is not a number")
        thresholds = [
            (name, value)
            for name in ("turn_start_threshold", "turn_eager_end_threshold", "turn_end_threshold")
            if (value := getattr(self, name)) is not None
        ]
        for name, value in thresholds:
            if not 0 < value < 1:
                raise UsageError(f"{name}: {value} is not between 0 and 1")
        for (higher, a), (lower, b) in pairwise(thresholds):
            if a <= b:
                raise UsageError(f"{higher}: {a} must be greater than {lower}, which is {b}")
        timeout = self.turn_end_timeout_ms
        if timeout is not None and not 0 < timeout < math.inf:
            raise UsageError(f"turn_end_timeout_ms: {timeout} is not a positive number")

    @property
    def max_end_silence(self) -> float:
        """Seconds of silence after which the server ends a turn at the latest."""
        return (self.turn_end_timeout_ms or _MAX_END_TIMEOUT_MS) / 1000

    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters, as the URL carries them."""
        return [(name, f"{value:g}") for name, value in self._set_fields()]

    def config(self) -> dict[str, float]:
        """The members of `turn` in a `config` message, which drop the prefix of the parameters."""
        return {name.removeprefix("turn_"): value for name, value in self._set_fields()}

    def updated(self, changes: TurnSettings) -> TurnSettings:
        """These settings with `changes` laid over them.

        Raises:
            UsageError: The result is out of order.
        """
        given: dict[str, Any] = dict(changes._set_fields())
        return replace(self, **given)

    def _set_fields(self) -> list[tuple[str, float]]:
        names = self.__dataclass_fields__
        return [(name, value) for name in names if (value := getattr(self, name)) is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What a connection to either streaming endpoint asks for.

    Attributes:
        model: Name of the model.
        encoding: One of the six encodings; what `send_audio` takes.
        sample_rate: Hz; what `send_audio` takes. 16000 is enough; companded audio has 8000.
        keyterms: Terms to expect: at most 100 terms and 1200 characters in total.
        base_url: Scheme and host of the API; `https`, `wss`, `http`, `ws` or no scheme at all.
        cartesia_version: Version of the API.
        allow_insecure: Whether key and audio may go unencrypted (`ws`, `http`) to another machine;
            by default only if `CARTESIA_ALLOW_INSECURE` is 1. This machine needs no permission.
        extra_headers: More headers of the upgrade request, for what stands between you and the
            API; never printed. Authentication belongs into `Credentials` only.
    """

    path: ClassVar[str]

    model: str = INK_2.name
    encoding: Encoding | str = Encoding.PCM_S16LE
    sample_rate: int = 16_000
    keyterms: Sequence[str] = ()
    base_url: str = field(
        default_factory=lambda: os.environ.get("CARTESIA_BASE_URL") or DEFAULT_BASE_URL
    )
    cartesia_version: str = API_VERSION
    allow_insecure: bool = field(default_factory=insecure_allowed)
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Check everything that does not depend on the server."""
        object.__setattr__(self, "encoding", Encoding.parse(self.encoding))
        object.__setattr__(self, "keyterms", validated_keyterms(self.keyterms))
        object.__setattr__(self, "extra_headers", validated_headers(self.extra_headers))
        validate_name("model", self.model, INK_2.name)
        validate_sample_rate(self.sample_rate)
        validate_version(self.cartesia_version)
        websocket_url(self.base_url, self.path)
        require_encryption(self.base_url, allow_insecure=self.allow_insecure)

    @property
    def format(self) -> AudioFormat:
        """The audio this connection takes."""
        return AudioFormat(Encoding(self.encoding), self.sample_rate)

    def url(self, access_token: str | None = None) -> str:
        """Return the address to connect to. A space is `%20`, as the API documents it."""
        parameters = [
            ("model", self.model),
            ("encoding", Encoding(self.encoding).value),
            ("sample_rate", str(self.sample_rate)),
            *self._parameters(),
            *(("keyterm", term) for term in self.keyterms),
        ]
        if access_token:
            parameters.append(("access_token", access_token))
        address = websocket_url(self.base_url, self.path)
        return f"{address}?{urlencode(parameters, quote_via=quote)}"

    def _parameters(self) -> list[tuple[str, str]]:
        """Return the query parameters that only this endpoint has."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsOptions(ConnectionOptions):
    """What a connection to `/stt/turns/websocket` asks for.

    The other attributes are those of `ConnectionOptions`. Whisper models have no turn detection.

    Attributes:
        turn: Thresholds of turn detection.
    """

    path: ClassVar[str] = TURNS_PATH

    turn: TurnSettings = field(default_factory=TurnSettings)

    def __post_init__(self) -> None:
        """Check everything that does not depend on the server."""
        ConnectionOptions.__post_init__(self)
        if not model_named(self.model).has_turns:
            raise UsageError(f"model: {self.model!r} has no turn detection; use {INK_2.name!r}")

    def _parameters(self) -> list[tuple[str, str]]:
        return self.turn.parameters()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualOptions(ConnectionOptions):
    """What a connection to `/stt/websocket` asks for.

    The other attributes are those of `ConnectionOptions`. `ink-whisper` knows about 100 languages
    and reports words with times; it takes no keyterms.

    Attributes:
        language: ISO 639-1, such as `en`; a region is left out. None leaves it to the server.
        min_volume: Loudness, 0 to 1, below which nothing is speech; whisper only.
        max_silence_duration_secs: Seconds of silence after which text is sent without `finalize`;
            whisper only.
    """

    path: ClassVar[str] = MANUAL_PATH

    language: str | None = None
    min_volume: float | None = None
    max_silence_duration_secs: float | None = None

    def __post_init__(self) -> None:
        """Check everything that does not depend on the server."""
        ConnectionOptions.__post_init__(self)
        object.__setattr__(self, "language", language_code(self.language))
        model = model_named(self.model)
        if self.keyterms and not model.has_keyterms:
            raise UsageError(f"keyterms: {self.model!r} takes none; use {INK_2.name!r}")
        silence = self.min_volume, self.max_silence_duration_secs
        if silence != (None, None) and not model.has_silence_options:
            raise UsageError(
                f"min_volume, max_silence_duration_secs: {self.model!r} has neither; "
                f"use {INK_WHISPER.name!r}"
            )
        if self.min_volume is not None:
            validate_number("min_volume", self.min_volume, 0, 1, "")
        if self.max_silence_duration_secs is not None:
            validate_positive(
                "max_silence_duration_secs", self.max_silence_duration_secs, "seconds"
            )

    def _parameters(self) -> list[tuple[str, str]]:
        values = {
            "language": self.language,
            "min_volume": self.min_volume,
            "max_silence_duration_secs": self.max_silence_duration_secs,
        }
        return [
            (name, value if isinstance(value, str) else f"{value:g}")
            for name, value in values.items()
            if value is not None
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """How a session recovers from lost connections. The defaults suit a voice agent.

    After 429 and 503 the server is asked again as it says in `Retry-After`, but after 30 to 45
    seconds at the latest: until then the caller's audio fits into the replay buffer.

    Attributes:
        replay_buffer_seconds: How much unsettled audio is kept for a replay; audio beyond that
            becomes an `AudioGap`.
        catch_up_rate: How much faster than real time a backlog is sent; at least 1.
        connect_timeout: Seconds until an attempt to connect without an answer is given up.
        drain_timeout: Seconds that `finish()` waits for the last transcripts.
        stall_timeout: Seconds of speech without any turn event until the connection is replaced.
            It doubles for each next connection; what three in a row do not transcribe is taken for
            noise.
        min_message_seconds: Seconds of audio that are gathered into one message, at most 0.1. 0
            sends every frame at once, which is soonest; 0.04 halves the cost of 20 ms frames for
            about 10 ms of delay.
        idle: What to do when no audio comes for minutes: let the server close the connection and
            reconnect when there is audio (`"reconnect"`), or send silence (`"silence"`).
    """

    replay_buffer_seconds: float = 60.0
    catch_up_rate: float = 2.0
    connect_timeout: float = 5.0
    drain_timeout: float = 5.0
    stall_timeout: float = 5.0
    min_message_seconds: float = 0.0
    idle: Literal["reconnect", "silence"] = "reconnect"

    def __post_init__(self) -> None:
        """Check the ranges."""
        validate_number("catch_up_rate", self.catch_up_rate, 1, math.inf, "times real time")
        for name in ("replay_buffer_seconds", "connect_timeout", "drain_timeout", "stall_timeout"):
            validate_positive(name, getattr(self, name), "seconds")
        if self.replay_buffer_seconds == math.inf:
            raise UsageError("replay_buffer_seconds: must be finite, for it bounds memory")
        validate_number("min_message_seconds", self.min_message_seconds, 0, 0.1, "seconds")
        if self.idle not in ("reconnect", "silence"):
            raise UsageError(f"idle: {self.idle!r} is neither 'reconnect' nor 'silence'")
