"""What a connection is opened with: settings, URL and credentials.

Only what the user set is sent, because the server's defaults have moved before and may move again;
ranges are left to the server for the same reason.

Parameters: https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import UsageError

DEFAULT_BASE_URL = "https://api.cartesia.ai"
API_VERSION = "2026-03-01"
TURNS_PATH = "/stt/turns/websocket"
MAX_KEYTERMS = 100
_LONGEST_END_TIMEOUT_MS = 11_200
MAX_KEYTERM_CHARACTERS = 1200
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OUR_HEADERS = frozenset(
    "authorization x-api-key cartesia-version host connection upgrade content-length "
    "transfer-encoding".split()
)
_SCHEMES = {"": "wss", "wss": "wss", "https": "wss", "ws": "ws", "http": "ws"}

TokenProvider = Callable[[], Awaitable[str]]


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
        for name, value in self._given():
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
    def longest_end(self) -> float:
        """Seconds of silence after which a turn ends at the latest."""
        return (self.turn_end_timeout_ms or _LONGEST_END_TIMEOUT_MS) / 1000

    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters, as the URL carries them."""
        return [(name, f"{value:g}") for name, value in self._given()]

    def config(self) -> dict[str, float]:
        """The members of `turn` in a `config` message, which drop the prefix of the parameters."""
        return {name.removeprefix("turn_"): value for name, value in self._given()}

    def updated(self, changes: TurnSettings) -> TurnSettings:
        """These settings with `changes` laid over them.

        Raises:
            UsageError: The result is out of order.
        """
        given: dict[str, Any] = dict(changes._given())
        return replace(self, **given)

    def _given(self) -> list[tuple[str, float]]:
        names = self.__dataclass_fields__
        return [(name, value) for name in names if (value := getattr(self, name)) is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsOptions:
    """What a connection to `/stt/turns/websocket` asks for.

    Attributes:
        model: `ink-2`, or `ink-preview`. Whisper models have no turn detection.
        encoding: One of the six encodings; what `send_audio` takes.
        sample_rate: Hz; what `send_audio` takes. Advice: 16000 is enough, companded audio is 8000.
        keyterms: Words to expect: at most 100 terms and 1200 characters in total.
        turn: Thresholds of turn detection.
        base_url: Scheme and host of the API; `https`, `wss`, `http`, `ws` or no scheme at all.
        cartesia_version: Version of the API.
        extra_headers: More headers of the upgrade request, for what stands between you and the
            API; never printed. How one proves who one is stands in `Credentials` only.
    """

    model: str = "ink-2"
    encoding: Encoding | str = Encoding.PCM_S16LE
    sample_rate: int = 16_000
    keyterms: Sequence[str] = ()
    turn: TurnSettings = field(default_factory=TurnSettings)
    base_url: str = field(
        default_factory=lambda: os.environ.get("CARTESIA_BASE_URL") or DEFAULT_BASE_URL
    )
    cartesia_version: str = API_VERSION
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Refuse what the server could only answer with a broken stream."""
        object.__setattr__(self, "encoding", Encoding.parse(self.encoding))
        object.__setattr__(self, "keyterms", check_keyterms(self.keyterms))
        object.__setattr__(self, "extra_headers", check_headers(self.extra_headers))
        if not self.model:
            raise UsageError("model: is empty; use 'ink-2'")
        if "whisper" in self.model:
            raise UsageError(f"model: {self.model!r} has no turn detection; use 'ink-2'")
        check_sample_rate(self.sample_rate)
        websocket_url(self.base_url, TURNS_PATH)

    @property
    def format(self) -> AudioFormat:
        """The audio this connection takes."""
        return AudioFormat(Encoding(self.encoding), self.sample_rate)

    def url(self, access_token: str | None = None) -> str:
        """The address to dial. A space is `%20`, as the API documents it."""
        parameters = [
            ("model", self.model),
            ("encoding", Encoding(self.encoding).value),
            ("sample_rate", str(self.sample_rate)),
            *self.turn.parameters(),
            *(("keyterm", term) for term in self.keyterms),
        ]
        if access_token:
            parameters.append(("access_token", access_token))
        return (
            f"{websocket_url(self.base_url, TURNS_PATH)}?{urlencode(parameters, quote_via=quote)}"
        )


def check_keyterms(keyterms: Sequence[str]) -> tuple[str, ...]:
    """Return the keyterms as a tuple.

    Raises:
        UsageError: There are more than 100, they are longer than 1200 characters, or one is empty.
    """
    if isinstance(keyterms, str):
        raise UsageError("keyterms: is one string; give a list of strings")
    try:
        terms = tuple(keyterms)
    except TypeError:
        raise UsageError(f"keyterms: {keyterms!r} is no list of strings") from None
    for term in terms:
        if not isinstance(term, str):
            raise UsageError(f"keyterms: {term!r} is no string")
    if not all(map(str.strip, terms)):
        raise UsageError("keyterms: a term is empty")
    if len(terms) > MAX_KEYTERMS:
        raise UsageError(f"keyterms: {len(terms)} terms; the API takes at most {MAX_KEYTERMS}")
    characters = sum(map(len, terms))
    if characters > MAX_KEYTERM_CHARACTERS:
        raise UsageError(
            f"keyterms: {characters} characters; the API takes at most {MAX_KEYTERM_CHARACTERS}"
        )
    return terms


def check_sample_rate(sample_rate: object) -> None:
    """Refuse a sample rate that no microphone has.

    Raises:
        UsageError: It is not a whole number from 1000 to 384000 Hz.
    """
    if not (isinstance(sample_rate, int) and 1_000 <= sample_rate <= 384_000):
        raise UsageError(f"sample_rate: {sample_rate!r} is not a rate in Hz, such as 16000")


def check_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Return a copy of the headers.

    Raises:
        UsageError: One is no header, or one that the client writes itself.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise UsageError(f"extra_headers: {name!r} is no name of a header")
        if name.lower() in _OUR_HEADERS or name.lower().startswith("sec-"):
            raise UsageError(f"extra_headers: {name!r} is written by the client")
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise UsageError(f"extra_headers: the value of {name!r} cannot stand in a header")
    return dict(headers)


def websocket_url(base_url: str, path: str) -> str:
    """Join a base URL of any scheme and an API path into a WebSocket address.

    A base URL that already ends in an API path keeps its host and gets `path` instead.

    Raises:
        UsageError: It has no host, or a scheme that is no way to reach a WebSocket.
    """
    parts = _split(base_url)
    if parts is None:
        raise UsageError(
            f"base_url: {_host_only(base_url)!r} is not like 'https://api.cartesia.ai'"
        )
    prefix = parts.path.rstrip("/")
    if "/stt" in prefix:
        prefix = prefix[: prefix.index("/stt")]
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, prefix + path, "", ""))


def _split(base_url: object) -> SplitResult | None:
    """The parts of a base URL; None if it is no way to reach a WebSocket."""
    if not isinstance(base_url, str) or any(map(str.isspace, base_url)):
        return None
    try:
        parts = urlsplit(base_url if "://" in base_url else f"//{base_url}")
        usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable and not (parts.query or parts.username) else None


def _host_only(base_url: str) -> str:
    """What of a wrong base URL may be repeated in an error: never a secret."""
    return str(base_url).split("?")[0].rpartition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How a connection proves who it is; exactly one of the three. Nothing of it is ever printed.

    Attributes:
        api_key: Sent in a header.
        access_token: A short-lived token, sent in the URL because the API wants it there.
        token_provider: Called for every dial, because tokens expire; returns an access token.
    """

    api_key: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    token_provider: TokenProvider | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse none and more than one."""
        given = [bool(self.api_key), bool(self.access_token), self.token_provider is not None]
        if not any(given):
            raise UsageError("api_key: none given; pass one or set CARTESIA_API_KEY")
        if sum(given) > 1:
            raise UsageError("api_key: give only one of api_key, access_token and token_provider")
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise UsageError("api_key: has characters that cannot stand in a header")

    @classmethod
    def from_environment(cls) -> Credentials:
        """Use the API key in `CARTESIA_API_KEY`.

        Raises:
            UsageError: It is not set.
        """
        return cls(api_key=os.environ.get("CARTESIA_API_KEY"))

    def headers(self) -> dict[str, str]:
        """The headers of the upgrade request."""
        return {"X-API-Key": self.api_key} if self.api_key else {}

    def redact(self, text: str) -> str:
        """Take secrets out of text that somebody else wrote."""
        for secret in (self.api_key, self.access_token):
            if secret:
                text = text.replace(secret, "***")
        return text

    async def token(self) -> str | None:
        """The access token for the next dial, if that is the way.

        Raises:
            UsageError: The provider is no coroutine function, or returned no token.
        """
        if self.token_provider is None:
            return self.access_token
        answer: object = self.token_provider()
        if not inspect.isawaitable(answer):
            raise UsageError("token_provider: must be an async function")
        token: object = await answer
        if not (isinstance(token, str) and token.strip()):
            raise UsageError("token_provider: returned no token")
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """How hard a session fights for the caller's words. The defaults suit a voice agent.

    A server that is too busy (429, 503) is asked again as it tells in `Retry-After`, after 30 to 45
    seconds at the latest: a call does not wait for hours, and until then no word is lost.

    Attributes:
        ledger_seconds: How much unsettled audio is kept for a replay; more than that becomes an
            `AudioGap`.
        catch_up_rate: How much faster than real time a backlog is sent; at least 1.
        dial_timeout: Seconds until a hung connection attempt is given up.
        drain_timeout: Seconds that `finish()` waits for the last words once they are sent.
        stall_timeout: Seconds of speech without any turn event until the connection is replaced.
            The next one is given twice as long, and so on; what three in a row say nothing of is
            taken for noise.
        coalesce: Seconds of audio that are gathered into one message, at most 0.1. 0 sends every
            piece as it comes, which is soonest; 0.04 halves the cost of 20 ms frames for about 10
            ms of delay.
        idle: What to do when no audio comes for minutes: let the server close the connection and
            dial again when there is audio (`"redial"`), or send silence (`"silence"`).
    """

    ledger_seconds: float = 60.0
    catch_up_rate: float = 2.0
    dial_timeout: float = 5.0
    drain_timeout: float = 5.0
    stall_timeout: float = 5.0
    coalesce: float = 0.0
    idle: Literal["redial", "silence"] = "redial"

    def __post_init__(self) -> None:
        """Refuse what would make a session deaf."""
        if self.catch_up_rate < 1:
            raise UsageError(f"catch_up_rate: {self.catch_up_rate} is below 1, real time")
        for name in ("ledger_seconds", "dial_timeout", "drain_timeout", "stall_timeout"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name}: {getattr(self, name)} is not positive")
        if not 0 <= self.coalesce <= 0.1:
            raise UsageError(f"coalesce: {self.coalesce} is not from 0 to 0.1 seconds")
        if self.idle not in ("redial", "silence"):
            raise UsageError(f"idle: {self.idle!r} is neither 'redial' nor 'silence'")
